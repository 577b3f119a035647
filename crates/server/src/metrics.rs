//! Counters, in the Prometheus text format (version 0.0.4).

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::http::StatusCode;
use filesafety_engine::Summary;
use filesafety_model::Verdict;
use filesafety_store::QueueDepths;

/// What the service counts since its start.
#[derive(Default)]
pub(crate) struct Metrics {
    verdicts: [AtomicU64; Verdict::ALL.len()],
    /// By first digit of the status: reads, and all others.
    reads: [AtomicU64; 6],
    writes: [AtomicU64; 6],
    deduplicated: AtomicU64,
}

/// What is measured at the moment of asking.
pub(crate) struct Gauges {
    pub(crate) depths: QueueDepths,
    pub(crate) running: usize,
    pub(crate) engine: Summary,
    pub(crate) uptime_seconds: u64,
    pub(crate) deliveries: crate::worker::delivery::DeliveryCounts,
    pub(crate) open_circuits: usize,
    /// Of the newest of ClamAV's databases, where any is used.
    pub(crate) database_age: Option<std::time::Duration>,
}

impl Metrics {
    pub(crate) fn count_request(&self, is_read: bool, status: StatusCode) {
        let counts = if is_read { &self.reads } else { &self.writes };
        let class = usize::from(status.as_u16() / 100).min(counts.len() - 1);
        counts[class].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_verdict(&self, verdict: Verdict, deduplicated: bool) {
        if let Some(index) = Verdict::ALL.iter().position(|known| *known == verdict) {
            self.verdicts[index].fetch_add(1, Ordering::Relaxed);
        }
        self.deduplicated.fetch_add(u64::from(deduplicated), Ordering::Relaxed);
    }

    pub(crate) fn render(&self, gauges: &Gauges) -> String {
        let mut page = Page::default();
        page.family("filesafety_scans_total", "counter", "Scans finished by this process, by verdict");
        for (verdict, count) in Verdict::ALL.iter().zip(&self.verdicts) {
            page.sample("filesafety_scans_total", &format!("verdict=\"{}\"", verdict.as_str()), count.load(Ordering::Relaxed));
        }
        page.single(
            "filesafety_scans_deduplicated_total",
            "counter",
            "Scans answered by an earlier verdict",
            self.deduplicated.load(Ordering::Relaxed),
        );
        page.family("filesafety_http_requests_total", "counter", "Requests answered, by kind and class of status");
        for (kind, counts) in [("read", &self.reads), ("write", &self.writes)] {
            for (class, count) in counts.iter().enumerate().skip(1) {
                page.sample(
                    "filesafety_http_requests_total",
                    &format!("kind=\"{kind}\",class=\"{class}xx\""),
                    count.load(Ordering::Relaxed),
                );
            }
        }
        page.family("filesafety_queue_depth", "gauge", "Scans that wait or run, by state");
        let depths = &gauges.depths;
        for (state, count) in [
            ("awaiting_upload", depths.awaiting_upload),
            ("pending_sync", depths.pending_sync),
            ("pending_async", depths.pending_async),
            ("scanning", depths.scanning),
        ] {
            page.sample("filesafety_queue_depth", &format!("state=\"{state}\""), count);
        }
        page.single("filesafety_scan_threads_busy", "gauge", "Scan threads at work", gauges.running as u64);
        page.family("filesafety_deliveries_open", "gauge", "Webhook deliveries that wait or are under way");
        page.sample("filesafety_deliveries_open", "status=\"pending\"", depths.deliveries_pending);
        page.sample("filesafety_deliveries_open", "status=\"delivering\"", depths.deliveries_delivering);
        page.family("filesafety_webhook_attempts_total", "counter", "Webhook attempts by this process, by outcome");
        for (outcome, count) in
            [("delivered", gauges.deliveries.delivered), ("failed", gauges.deliveries.failed), ("abandoned", gauges.deliveries.abandoned)]
        {
            page.sample("filesafety_webhook_attempts_total", &format!("outcome=\"{outcome}\""), count);
        }
        page.single(
            "filesafety_webhook_circuits_open",
            "gauge",
            "Hosts whose webhooks keep failing, so that most are postponed",
            gauges.open_circuits as u64,
        );
        page.single("filesafety_rules", "gauge", "YARA rules loaded", gauges.engine.rules as u64);
        page.single("filesafety_hashes", "gauge", "Hashes loaded", gauges.engine.hashes as u64);
        if let Some(age) = gauges.database_age {
            page.single("filesafety_database_age_seconds", "gauge", "Since the newest of ClamAV's databases was built", age.as_secs());
        }
        page.single("filesafety_uptime_seconds", "gauge", "Time since the start", gauges.uptime_seconds);
        page.0
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "{name}{{{labels}}} {value}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }
}
