//! What a receiver counts, also in the Prometheus text format (version 0.0.4).

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::store::Counts;

/// What a receiver did since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Webhooks answered 200, by what became of them: `accepted`, `superseded`, `duplicate`, `ignored`.
    pub received: BTreeMap<&'static str, u64>,
    /// Webhooks refused, by the code of the answer.
    pub refused: BTreeMap<&'static str, u64>,
    /// Events handled.
    pub handled: u64,
    /// Tries of handlers that failed.
    pub failed: u64,
    /// Events that became dead letters.
    pub dead: u64,
    /// Events set aside as older than the newest handled one of their scan, after they were taken in.
    pub superseded: u64,
}

/// The labels are few and written in this crate.
#[derive(Default)]
pub(super) struct Counters {
    received: Mutex<BTreeMap<&'static str, u64>>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    pub(super) handled: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) dead: AtomicU64,
    pub(super) superseded: AtomicU64,
}

impl Counters {
    pub(super) fn count_passed(&self, status: &'static str) {
        *self.received.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
    }

    pub(super) fn count_refused(&self, code: &'static str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    pub(super) fn read(&self) -> Metrics {
        Metrics {
            received: self.received.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            refused: self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            handled: self.handled.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            dead: self.dead.load(Ordering::Relaxed),
            superseded: self.superseded.load(Ordering::Relaxed),
        }
    }
}

impl Metrics {
    /// The page for Prometheus, with what the store holds now.
    pub fn render(&self, counts: &Counts) -> String {
        let mut page = String::new();
        family(&mut page, "filesafety_receiver_webhooks_total", "counter", "Webhooks answered 200, by what became of them");
        for (status, count) in &self.received {
            line(&mut page, &format!("filesafety_receiver_webhooks_total{{status=\"{status}\"}}"), *count);
        }
        family(&mut page, "filesafety_receiver_refused_total", "counter", "Webhooks refused, by code");
        for (code, count) in &self.refused {
            line(&mut page, &format!("filesafety_receiver_refused_total{{code=\"{code}\"}}"), *count);
        }
        for (name, kind, help, value) in [
            ("filesafety_receiver_handled_total", "counter", "Events handled", self.handled),
            ("filesafety_receiver_handler_failures_total", "counter", "Tries of handlers that failed", self.failed),
            ("filesafety_receiver_died_total", "counter", "Events that became dead letters", self.dead),
            ("filesafety_receiver_superseded_total", "counter", "Events set aside for a newer one of their scan", self.superseded),
            ("filesafety_receiver_waiting", "gauge", "Events to be handled, now or later", counts.waiting),
            ("filesafety_receiver_dead_letters", "gauge", "Dead letters", counts.dead),
            ("filesafety_receiver_pending", "gauge", "Submitted scans for which nothing came yet", counts.pending),
        ] {
            family(&mut page, name, kind, help);
            line(&mut page, name, value);
        }
        page
    }
}

fn family(page: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(page: &mut String, sample: &str, value: u64) {
    let _ = writeln!(page, "{sample} {value}");
}
