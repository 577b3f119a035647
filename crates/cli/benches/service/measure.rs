//! Figures of times and of processes.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Times of single operations.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        self.0.get((self.0.len() * percent / 100).min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// CPU time that a process has used, in user and kernel mode.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let after_name = stat.rsplit(") ").next().expect("a name in brackets");
    let ticks: u64 = after_name.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum();
    // Linux counts in hundredths of a second for every user.
    Duration::from_millis(ticks * 10)
}

/// Bytes that a process and its children hold: what they have for themselves, and files in memory. The program itself is not counted.
pub(crate) fn resident(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs").flatten();
    let children: String = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok()).collect();
    let own = pid.to_string();
    let all = children.split_whitespace().chain([own.as_str()]);
    let statuses = all.filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok());
    let held = |status: String| -> u64 {
        let lines = status.lines().filter(|line| line.starts_with("RssAnon:") || line.starts_with("RssShmem:"));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
    };
    statuses.map(held).sum::<u64>() << 10
}

/// The most that a process and its children hold while `work` runs, looked at every 5 ms.
pub(crate) fn peak_while<T>(pid: u32, work: impl FnOnce() -> T) -> (T, u64) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = resident(pid);
            while !over.load(Ordering::SeqCst) {
                peak = peak.max(resident(pid));
                thread::sleep(Duration::from_millis(5));
            }
            peak
        });
        let done = work();
        over.store(true, Ordering::SeqCst);
        (done, watch.join().expect("the watch ends"))
    })
}
