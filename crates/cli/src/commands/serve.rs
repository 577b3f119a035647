//! `serve`: the service.
