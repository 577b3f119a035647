//! From the moment a webhook may leave to its arrival, at fifty a second.

use std::thread;
use std::time::{Duration, Instant};

use crate::measure::{Times, milliseconds};
use crate::support::client::Connection;
use crate::support::farm::Farm;
use crate::support::{Form, Options, Server, clock};

const COUNT: u32 = 1_000;
const EVERY: Duration = Duration::from_millis(20);
/// Milliseconds.
const P50_LIMIT: f64 = 5.0;
const P99_LIMIT: f64 = 15.0;

pub(crate) fn run() {
    let farm = Farm::start(1);
    let server = Options::new().env("FILESAFETY_WEBHOOK_GRACE", "0s").env("FILESAFETY_LOG", "warn").start();
    show("quiet", measure(&server, &farm));
}

/// Prints p50 and p99 beside their limits.
pub(crate) fn show(name: &str, times: Times) {
    for (percent, limit) in [(50, P50_LIMIT), (99, P99_LIMIT)] {
        let time = milliseconds(times.percentile(percent));
        println!("  {name}: p{percent} {time:.2} ms (ratio {:.2} to the {limit} ms allowed)", time / limit);
    }
}

/// From the answer that names a scan, after which its webhook may leave, to the arrival of that.
pub(crate) fn measure(server: &Server, farm: &Farm) -> Times {
    let mut connection = Connection::open(server.address()).expect("a connection");
    let begun = Instant::now();
    let mut answered = Vec::new();
    for number in 0..COUNT {
        thread::sleep((EVERY * number).saturating_sub(begun.elapsed()));
        let form = Form::of("a", format!("latency {number} {begun:?}").as_bytes()).text("webhook_url", &farm.url(0));
        let answer = connection.exchange(&server.post("/v1/scan").form(form)).expect("an answer");
        answered.push((Instant::now(), answer.scan_id()));
    }
    let times = answered.into_iter().map(|(answered, scan)| {
        let arrived = clock::wait_for("a webhook", Duration::from_secs(30), || farm.arrival(&scan));
        arrived.saturating_duration_since(answered)
    });
    Times::of(times.collect())
}
