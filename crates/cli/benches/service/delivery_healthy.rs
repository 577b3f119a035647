//! What the webhooks of a healthy receiver wait while others hang, and while ten thousand are due at once after an outage.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::delivery_latency::measure;
use crate::measure::{Times, milliseconds};
use crate::support::farm::Farm;
use crate::support::{Options, backlog};

const HANGING: usize = 100;
const OUTAGE: usize = 10_000;
/// Times the quiet value.
const LIMIT: f64 = 2.0;

pub(crate) fn run() {
    let quiet = beside("quiet", 0, |_| String::new());
    let hanging: Vec<SocketAddr> = (0..HANGING).map(|_| silent_port()).collect();
    let hung = beside("beside a hundred hosts that hang", HANGING * 10, |number| format!("https://{}/hook", hanging[number % HANGING]));
    let back = Farm::start(100);
    let after = beside("while ten thousand are due after an outage", OUTAGE, |number| back.url(number));
    for (name, times) in [("hanging", hung), ("outage", after)] {
        let ratio = milliseconds(times.percentile(99)) / milliseconds(quiet.percentile(99));
        println!("  {name}: p99 {ratio:.2} times the quiet one (ratio {:.2} to the {LIMIT} allowed)", ratio / LIMIT);
    }
}

/// The times of a healthy receiver on a server that starts with so many deliveries due.
fn beside(name: &str, due: usize, url: impl Fn(usize) -> String) -> Times {
    let farm = Farm::start(1);
    let options = Options::new().env("FILESAFETY_WEBHOOK_GRACE", "0s").env("FILESAFETY_LOG", "warn");
    drop(options.start());
    if due > 0 {
        backlog::fill(&options, due, backlog::due_now(), url);
    }
    let times = measure(&options.start(), &farm);
    println!("  {name}: p50 {:.2} ms, p99 {:.2} ms", milliseconds(times.percentile(50)), milliseconds(times.percentile(99)));
    times
}

/// Accepts and never says a word.
pub(crate) fn silent_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        let mut open: Vec<TcpStream> = Vec::new();
        open.extend(listener.incoming().flatten());
    });
    address
}
