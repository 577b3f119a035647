//! A thousand hosts of which a hundred hang: what that costs the other nine hundred.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::delivery_healthy::silent_port;
use crate::measure::{peak_while, resident};
use crate::support::farm::Farm;
use crate::support::{Options, backlog};

const HOSTS: usize = 1_000;
const HANGING: usize = 100;
const OF_EACH: usize = 10;
const LIMIT: f64 = 2.0;

pub(crate) fn run() {
    raise_open_files();
    let alone = deliver(false);
    let beside = deliver(true);
    let ratio = beside.as_secs_f64() / alone.as_secs_f64();
    println!(
        "  {} webhooks to {} hosts: {alone:?}; with {HANGING} more that hang: {beside:?}",
        (HOSTS - HANGING) * OF_EACH,
        HOSTS - HANGING
    );
    println!("  ratio {:.2} to the {LIMIT} times allowed", ratio / LIMIT);
}

/// How long it takes until all have arrived that can.
fn deliver(hang: bool) -> Duration {
    let farm = Farm::start(HOSTS - HANGING);
    let hanging: Vec<SocketAddr> = (0..HANGING).map(|_| silent_port()).collect();
    let options = Options::new().env("FILESAFETY_LOG", "warn");
    drop(options.start());
    let url = |number: usize| match number % HOSTS {
        host if host < HANGING => format!("https://{}/hook", hanging[host]),
        host => farm.url(host - HANGING),
    };
    // What hangs is due first.
    let earlier = backlog::now().minus(Duration::from_secs(10));
    if hang {
        backlog::fill(&options, HANGING * OF_EACH, earlier, |number| url(number % HANGING));
    }
    backlog::fill(&options, (HOSTS - HANGING) * OF_EACH, backlog::due_now(), |number| url(HANGING + number % (HOSTS - HANGING)));
    let server = options.start();
    let before = resident(server.pid());
    let (took, peak) = peak_while(server.pid(), || farm.wait_for((HOSTS - HANGING) * OF_EACH, Duration::from_secs(300)));
    println!("  memory: {} MiB at the start, {} MiB at most", before >> 20, peak >> 20);
    took
}

/// All receivers are in this process.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).expect("up to the hard limit");
}
