//! Killed processes and full disks: whatever was accepted reaches one verdict and announces it.
//!
//! `FILESAFETY_FULL=1` makes the runs long.
#![allow(clippy::print_stderr, reason = "a run that is skipped says so")]

#[allow(dead_code, unused_imports, reason = "the other tests use the rest of it")]
#[path = "../support/mod.rs"]
mod support;

mod disk;
mod kill;
mod names;
mod sandboxes;
mod webhooks;
