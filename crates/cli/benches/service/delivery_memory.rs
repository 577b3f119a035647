//! A million webhooks that wait: what they cost in memory, and those that are due.

use std::time::{Duration, Instant};

use crate::delivery_latency::{measure, show};
use crate::measure::{peak_while, resident};
use crate::support::farm::Farm;
use crate::support::{Options, backlog};

const WAITING: usize = 1_000_000;
const HOSTS: usize = 1_000;
/// MiB.
const LIMIT: u64 = 150;

pub(crate) fn run() {
    let farm = Farm::start(1);
    let options =
        Options::new().env("FILESAFETY_WEBHOOK_GRACE", "0s").env("FILESAFETY_LOG", "warn").env("FILESAFETY_WEBHOOK_RETRY", "12h,12h");
    drop(options.start());
    let begun = Instant::now();
    let later = backlog::now().plus(Duration::from_secs(12 * 3600));
    backlog::fill(&options, WAITING, later, |number| format!("https://h{}.example/hook", number % HOSTS));
    println!("  {WAITING} written in {:.0} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let server = options.start();
    println!("  started in {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    let before = resident(server.pid()) >> 20;
    let (times, peak) = peak_while(server.pid(), || measure(&server, &farm));
    show("beside a million that wait", times);
    let peak = peak >> 20;
    println!(
        "  memory: {before} MiB at the start, {peak} MiB at most (ratio {:.2} to the {LIMIT} MiB allowed)",
        peak as f64 / LIMIT as f64
    );
}
