//! An account's webhook URL, checked as the service checks it.
