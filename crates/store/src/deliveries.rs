//! Deliveries: one event to one URL, every attempt written down.

use filesafety_model::{AccountId, DeliveryId, ScanId, Timestamp};

use crate::{DeliveryClaim, Result, Store, StoreError, sqlite::deliveries as sql};

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryStatus {
    /// Waiting for its next attempt.
    Pending,
    /// An attempt is under way.
    Delivering,
    Delivered,
    /// Retries exhausted.
    Abandoned,
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    pub started_at: Timestamp,
    pub millis: u64,
    /// The address the connection went to.
    pub address: Option<String>,
    /// The version of TLS that was spoken: `1.3`.
    pub tls: Option<String>,
    pub status: Option<u16>,
    pub error: Option<AttemptError>,
    /// The head of the answer's body; cut to [`AttemptRecord::MAX_RESPONSE_HEAD`].
    pub response_head: Vec<u8>,
}

impl AttemptRecord {
    pub const MAX_RESPONSE_HEAD: usize = 1024;
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptError {
    /// `timeout`, `address_refused`, …
    pub kind: String,
    /// A sentence for a person.
    pub text: String,
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Delivered,
    RetryAt(Timestamp),
    Abandoned,
}

/// An attempt that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedAttempt {
    pub delivery: DeliveryId,
    /// Its number; fences.
    pub attempt: u32,
    /// As the claim had it.
    pub host: String,
    pub record: AttemptRecord,
    pub next: Next,
}

impl Store {
    /// Writes down how attempts went and what follows, all at once. `false` for one whose claim ran out and was given away, or whose scan was
    /// erased: nothing of it is written. Lines that were held for their hosts have their turn, of which no signal tells: look again.
    pub async fn finish_attempts(&self, ended: Vec<FinishedAttempt>, now: Timestamp) -> Result<Vec<bool>> {
        self.write(move |conn| sql::finish(conn, &ended, now)).await
    }

    /// Writes down one attempt; `LeaseLost` when its claim is gone.
    pub async fn finish_attempt(&self, claim: &DeliveryClaim, record: AttemptRecord, next: Next) -> Result<()> {
        let now = record.started_at;
        let ended = FinishedAttempt { delivery: claim.id, attempt: claim.attempt, host: claim.host.clone(), record, next };
        if self.finish_attempts(vec![ended], now).await? == [true] { Ok(()) } else { Err(StoreError::LeaseLost) }
    }

    /// Gives a claim back unsent, so that it uses up no try.
    pub async fn return_delivery(&self, claim: &DeliveryClaim, due_at: Timestamp) -> Result<()> {
        let (id, attempt) = (claim.id, claim.attempt);
        self.write(move |conn| sql::give_back(conn, id, attempt, due_at)).await?;
        self.signal_deliveries();
        Ok(())
    }

    /// Makes the first attempt due at `at`, if that is sooner than now planned. Nothing happens to one that began.
    pub async fn bring_forward(&self, delivery: DeliveryId, at: Timestamp) -> Result<()> {
        self.write(move |conn| sql::bring_forward(conn, delivery, at)).await?;
        self.signal_deliveries();
        Ok(())
    }

    /// One attempt at `now` and a fresh schedule for the scan's newest event, whatever became of it; its log continues.
    /// Conflicts: `NoWebhook`, `DeliveryInProgress`, and `ScanInProgress` before it finished.
    pub async fn redeliver(&self, account: AccountId, scan: ScanId, now: Timestamp) -> Result<DeliveryId> {
        let delivery = self.write(move |conn| sql::redeliver(conn, account, scan, now)).await?;
        self.signal_deliveries();
        Ok(delivery)
    }
}

impl DeliveryStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivering => "delivering",
            Self::Delivered => "delivered",
            Self::Abandoned => "abandoned",
        }
    }
}
