//! The receiver as an application uses it, and the same cases for every store.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so and stops")]

mod admission;
mod build;
mod crashes;
mod handling;
#[cfg(feature = "receiver-postgres")]
mod postgres;
mod refusals;
mod status_page;
mod store_contract;
mod support;
mod transactions;
