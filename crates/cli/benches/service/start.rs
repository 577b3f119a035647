//! From the start of the process to ready.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use crate::measure::{Times, milliseconds};
use crate::support::client::Request;
use crate::support::server::address_in;
use crate::support::{Options, clock};

const TARGET: Duration = Duration::from_millis(300);

pub(crate) fn run() {
    let first = Times::of((0..5).map(|_| start(&Options::strict())).collect());
    let options = Options::strict();
    start(&options);
    let again = Times::of((0..15).map(|_| start(&options)).collect());
    for (name, times) in [("on an empty folder", first), ("on a used folder", again)] {
        let (p50, worst) = (times.percentile(50), times.percentile(100));
        let ratio = milliseconds(p50) / milliseconds(TARGET);
        println!(
            "  {name}: {:.0} ms, worst {:.0} ms ({ratio:.2} of the {} ms allowed)",
            milliseconds(p50),
            milliseconds(worst),
            TARGET.as_millis()
        );
    }
}

fn start(options: &Options) -> Duration {
    let begun = Instant::now();
    let mut child = options.command().spawn().expect("the binary starts");
    let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let address = stderr.lines().map_while(Result::ok).find_map(|line| address_in(&line)).expect("it listens");
    clock::wait_for("ready", Duration::from_secs(20), || {
        Request::new(address, "GET", "/readyz").try_send().ok().filter(|answer| answer.status == 200)
    });
    let took = begun.elapsed();
    child.kill().expect("it is our child");
    child.wait().expect("it is our child");
    took
}
