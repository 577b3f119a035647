//! What goes when its time is over.

use std::time::Duration;

use filesafety_model::Timestamp;

use crate::{Result, ScanRecord, Store, sqlite::retention as sql};

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Finished scans with their deliveries.
    pub finished: Duration,
    /// The stream of events.
    pub events: Duration,
    pub idempotency: Duration,
    /// How long a scan may wait or run before it is overdue.
    pub unfinished: Duration,
    /// How long after its URL expired an upload under way may still end.
    pub upload_grace: Duration,
}

/// What one round of [`Store::sweep`] did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Swept {
    /// Scans erased.
    pub erased: u64,
    pub events: u64,
    pub idempotency_keys: u64,
    /// Upload URLs that expired unused: their scans ended `failed`, without event or webhook.
    pub uploads_expired: u64,
    /// To be ended by [`Store::end_overdue`]. Their bytes stay until then.
    pub overdue: Vec<ScanRecord>,
    /// The bound of one round was reached: call again.
    pub more: bool,
}

impl Store {
    /// One bounded round of what is due to go at `now`.
    pub async fn sweep(&self, now: Timestamp, policy: RetentionPolicy) -> Result<Swept> {
        let swept = self.write(move |conn| sql::sweep(conn, now, &policy)).await?;
        if swept.erased > 0 {
            self.writer().mark_erased();
        }
        Ok(swept)
    }
}

impl Default for RetentionPolicy {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(60 * 60);
        Self { finished: 90 * 24 * HOUR, events: 24 * HOUR, idempotency: 24 * HOUR, unfinished: 24 * HOUR, upload_grace: Duration::ZERO }
    }
}
