//! Webhooks over HTTPS, all due at once and each attempt recorded: to one receiver, and to a hundred.

use std::thread;
use std::time::Duration;

use crate::measure::{cpu_time, milliseconds};
use crate::support::farm::Farm;
use crate::support::{Options, Server, backlog, clock};

const COUNT: usize = 10_000;
/// Of the sender's own CPU, for each.
const CPU_LIMIT: f64 = 0.2;
/// A second, with the receivers on the same cores.
const RATE_GOAL: f64 = 2_500.0;
/// Of a widely used webhook sender, over plain HTTP with its queue in memory: deliveries per second and CPU milliseconds of each.
const PEER: (f64, f64) = (820.0, 0.9);
/// Time to fill the store and to start before anything is due.
const AHEAD: Duration = Duration::from_secs(40);

pub(crate) fn run() {
    for receivers in [1, 100] {
        let farm = Farm::start(receivers);
        let options = Options::new().env("FILESAFETY_LOG", "warn");
        drop(options.start());
        let due_at = backlog::now().plus(AHEAD);
        backlog::fill(&options, COUNT, due_at, |number| farm.url(number));
        let server = options.start();
        let left = due_at.since(backlog::now());
        assert!(left > Duration::from_secs(2), "it took too long to fill the store");
        thread::sleep(left - Duration::from_millis(500));
        assert_eq!(farm.count(), 0, "nothing is due yet");
        let before = cpu_time(server.pid());
        farm.wait_for(1, AHEAD);
        let took = farm.wait_for(COUNT, Duration::from_secs(300));
        settle(&server);
        let each = milliseconds(cpu_time(server.pid()) - before) / COUNT as f64;
        let rate = COUNT as f64 / took.as_secs_f64();
        println!(
            "  to {receivers}: {each:.3} ms of the sender's CPU each (ratio {:.2} to the {CPU_LIMIT} allowed, {:.2} to {} of a peer over plain HTTP)",
            each / CPU_LIMIT,
            each / PEER.1,
            PEER.1
        );
        println!(
            "  to {receivers}: {rate:.0} a second (ratio {:.2} to the goal of {RATE_GOAL}, {:.2} to {} of that peer)",
            rate / RATE_GOAL,
            rate / PEER.0,
            PEER.0
        );
        println!("  to {receivers}: over {} connections", farm.connections());
        assert_eq!(farm.count(), COUNT, "each once");
    }
}

/// Until all outcomes are written down.
fn settle(server: &Server) {
    clock::wait_for("the outcomes to be written", Duration::from_secs(60), || {
        let metrics = server.get("/metrics").text();
        let open = metrics.lines().filter(|line| line.starts_with("filesafety_deliveries_open{"));
        open.into_iter().all(|line| line.ends_with(" 0")).then_some(())
    });
}
