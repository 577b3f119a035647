//! What every backend of the store promises. A case takes an open store; only the cases of `keeping` and `blobs` know that there is a folder.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod accounts;
mod blobs;
mod deliveries;
mod delivery_log;
mod keeping;
mod lines;
mod queue;
mod scans;
mod signing;
mod support;
mod verdicts;
