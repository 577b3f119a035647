//! How long the webhooks of a healthy receiver take, one after another, while other things happen.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::Connection;
use crate::support::{Form, Receiver, Server};

/// Between two of its scans.
const PAUSE: Duration = Duration::from_millis(50);
/// On a machine that others use as well, less says nothing.
const NOISE: Duration = Duration::from_secs(1);

/// Times from the answer that named a scan to the arrival of its webhook.
pub(crate) struct Pulse(Vec<Duration>);

impl Pulse {
    /// So many webhooks.
    pub(crate) fn take(server: &Server, receiver: &Receiver, count: usize) -> Self {
        Self((0..count).map(|_| beat(server, receiver)).collect())
    }

    /// As many as fit while `work` is done, and what it gave.
    pub(crate) fn during<T: Send>(server: &Server, receiver: &Receiver, work: impl FnOnce() -> T + Send) -> (Self, T) {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let work = scope.spawn(|| {
                let done = work();
                over.store(true, Ordering::SeqCst);
                done
            });
            let mut beats = Vec::new();
            while !over.load(Ordering::SeqCst) && !work.is_finished() {
                beats.push(beat(server, receiver));
            }
            let done = work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (Self(beats), done)
        })
    }

    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut times = self.0.clone();
        times.sort();
        times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// The healthy are not held up: their p99 stays within twice what it is when all is quiet. The exact figure is for the benches.
    #[track_caller]
    pub(crate) fn assert_like(&self, quiet: &Self) {
        let (now, before) = (self.percentile(99), quiet.percentile(99));
        eprintln!("healthy receiver: p50 {:?}, p99 {now:?} over {} webhooks; quiet p99 {before:?}", self.percentile(50), self.0.len());
        assert!(now <= 2 * before.max(NOISE), "p99 {now:?}, quiet {before:?}");
    }
}

fn beat(server: &Server, receiver: &Receiver) -> Duration {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    thread::sleep(PAUSE);
    let content = format!("a beat of the pulse {}", COUNT.fetch_add(1, Ordering::SeqCst));
    let form = Form::of("pulse", content.as_bytes()).text("webhook_url", &receiver.url());
    let mut connection = Connection::open(server.address()).expect("a connection");
    let before = receiver.received().len();
    let answer = connection.exchange(&server.post("/v1/scan").form(form)).expect("an answer");
    let answered = Instant::now();
    answer.expect(200);
    let all = receiver.wait_for(before + 1, Duration::from_secs(60));
    all[before].at.saturating_duration_since(answered)
}
