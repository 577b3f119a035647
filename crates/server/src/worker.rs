//! What runs behind the API: scans, deliveries, retention.

pub(crate) mod beside;
pub(crate) mod delivery;
pub(crate) mod gate;
pub(crate) mod judge;
pub(crate) mod lookback;
pub(crate) mod memory;
pub(crate) mod retention;
pub(crate) mod scan;
pub(crate) mod threads;
pub(crate) mod ticket;
pub(crate) mod turns;
