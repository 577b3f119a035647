//! How fast the service does its whole job, each figure beside one that everybody can measure.
//!
//! `cargo bench -p filesafety-cli` runs all of them, `cargo bench -p filesafety-cli -- sync_scans` one.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints what it measured")]

#[allow(dead_code, unused_imports, reason = "the tests use the rest of it")]
#[path = "../../tests/support/mod.rs"]
mod support;

mod deliveries;
mod delivery_healthy;
mod delivery_hosts;
mod delivery_latency;
mod delivery_memory;
mod large_upload;
mod measure;
mod start;
mod sync_scans;

const BENCHES: [(&str, fn()); 8] = [
    ("start", start::run),
    ("sync_scans", sync_scans::run),
    ("large_upload", large_upload::run),
    ("deliveries", deliveries::run),
    ("delivery_latency", delivery_latency::run),
    ("delivery_healthy", delivery_healthy::run),
    ("delivery_hosts", delivery_hosts::run),
    ("delivery_memory", delivery_memory::run),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for (name, run) in BENCHES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            println!("\n{name}");
            run();
        }
    }
}
