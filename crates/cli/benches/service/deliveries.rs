//! Webhooks to one HTTPS receiver of this machine, all due at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::{cpu_time, milliseconds};
use crate::support::client::Connection;
use crate::support::{Form, Options, Receiver, Server};

const COUNT: usize = 10_000;
/// Of a widely used webhook sender, over plain HTTP with its queue in memory: deliveries per second and CPU milliseconds of each.
const PEER: (f64, f64) = (820.0, 0.9);

pub(crate) fn run() {
    let receiver = Receiver::start();
    // Long enough that all scans are in before the first delivery is due.
    let grace = Duration::from_secs(90);
    let options = Options::new().env("FILESAFETY_WEBHOOK_GRACE", "90s").env("FILESAFETY_LOG", "warn");
    let server = options.start();
    let begun = Instant::now();
    submit_all(&server, &receiver.url());
    let submitted = begun.elapsed();
    assert!(receiver.received().is_empty(), "a delivery left during the {submitted:?} of submission");
    let options = server.kill();
    thread::sleep(grace);

    let server = options.start();
    let all = receiver.wait_for(COUNT, Duration::from_secs(300));
    // All of its CPU time, the start included: that is on the safe side.
    let each = cpu_time(server.pid()) / u32::try_from(COUNT).expect("ten thousand");
    let times = || all.iter().map(|received| received.at);
    let took = times().max().zip(times().min()).map(|(last, first)| last - first).expect("they are in");
    let rate = COUNT as f64 / took.as_secs_f64();
    println!(
        "  {rate:.0} deliveries/s, signed, over TLS, each attempt recorded (ratio {:.2} to {} of a peer over plain HTTP)",
        rate / PEER.0,
        PEER.0
    );
    println!("  {:.2} ms CPU each (ratio {:.2} to {} of that peer)", milliseconds(each), milliseconds(each) / PEER.1, PEER.1);
}

fn submit_all(server: &Server, url: &str) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = Connection::open(server.address()).expect("a connection");
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= COUNT {
                        return;
                    }
                    let form = Form::of("a", format!("file {number}").as_bytes()).text("webhook_url", url);
                    connection.exchange(&server.post("/v1/scan").form(form)).expect("an answer").expect(200);
                }
            });
        }
    });
}
