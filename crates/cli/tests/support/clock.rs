//! Waiting for something to become true.

use std::thread;
use std::time::{Duration, Instant};

/// Asks until an answer comes. Panics, naming what was waited for, once `within` is over.
pub(crate) fn wait_for<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < within, "waited {within:?} in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Asserts that something stays true for a while.
pub(crate) fn holds_for(what: &str, during: Duration, mut ask: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < during {
        assert!(ask(), "{what} did not hold: it ended after {:?}", start.elapsed());
        thread::sleep(Duration::from_millis(20));
    }
}
