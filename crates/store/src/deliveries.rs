//! Deliveries: one event to one URL, every attempt written down.

use filesafety_model::{AccountId, DeliveryId, EventId, ScanId, Timestamp};

use crate::{Result, Store, WebhookTarget, secrets::Purpose, sqlite::deliveries as sql};

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

/// A delivery whose attempt is to be made now. The attempt is written down already: a crash mid-request uses up a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryClaim {
    pub id: DeliveryId,
    /// Its number in the log, from 1; fences.
    pub attempt: u32,
    /// Its number in the present schedule, from 1.
    pub try_number: u32,
    pub account: AccountId,
    pub scan: ScanId,
    pub event: EventId,
    pub event_name: String,
    pub target: WebhookTarget,
    /// The bytes to sign and send.
    pub body: String,
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    pub started_at: Timestamp,
    pub millis: u64,
    /// The address the connection went to.
    pub address: Option<String>,
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

/// An attempt as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptView {
    pub delivery: DeliveryId,
    pub event: EventId,
    pub event_name: String,
    pub number: u32,
    pub target: WebhookTarget,
    pub started_at: Timestamp,
    /// `None` while it is under way.
    pub millis: Option<u64>,
    pub address: Option<String>,
    pub status: Option<u16>,
    pub error: Option<AttemptError>,
    pub response_head: Vec<u8>,
    /// When the next attempt was due by this one's outcome; `None`: there was to be none.
    pub next_attempt_at: Option<Timestamp>,
}

impl Store {
    /// Claims up to `limit` due deliveries until `lease_until`, fairly between hosts, with at most `per_host` under way to one host.
    /// A later event of a scan waits until the earlier ones are delivered or abandoned. Claims that ran out come back, a try poorer.
    pub async fn due_deliveries(&self, now: Timestamp, lease_until: Timestamp, limit: u32, per_host: u32) -> Result<Vec<DeliveryClaim>> {
        let rows = self.write(move |conn| sql::claim(conn, now, lease_until, limit, per_host)).await?;
        let mut claims = Vec::with_capacity(rows.len());
        for row in rows {
            let scan = row.scan;
            match self.unseal_claim(row) {
                Ok(claim) => claims.push(claim),
                // One row that does not open must not stop all others. Its claim runs out, and it comes back here.
                Err(error) => tracing::error!(%scan, %error, "a webhook's URL is lost"),
            }
        }
        Ok(claims)
    }

    /// Writes down how an attempt went and what follows. `LeaseLost` when the claim ran out and was given away, or the scan was erased.
    pub async fn finish_attempt(&self, claim: &DeliveryClaim, record: AttemptRecord, next: Next) -> Result<()> {
        let (id, attempt) = (claim.id, claim.attempt);
        self.write(move |conn| sql::finish(conn, id, attempt, &record, next)).await?;
        self.signal_deliveries();
        Ok(())
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

    /// When to look for due deliveries again: the earliest time planned after `now`, or the end of a claim. What is due at `now` and was
    /// not claimed waits for an attempt under way: [`Signals::deliveries`](crate::Signals) tells of its end.
    pub async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        self.read(move |conn| sql::next_due(conn, now)).await
    }

    /// Every attempt to tell of the scan, oldest first.
    pub async fn deliveries(&self, account: AccountId, scan: ScanId) -> Result<Vec<AttemptView>> {
        let (rows, target) = self.read(move |conn| sql::attempts(conn, account, scan)).await?;
        let Some((url, url_host)) = target else { return Ok(Vec::new()) };
        let url = self.sealer().open_text(Purpose::ScanWebhook, &scan.to_string(), &url)?;
        let target = WebhookTarget { url, url_host };
        Ok(rows.into_iter().map(|row| view(row, target.clone())).collect())
    }

    /// One attempt at `now` and a fresh schedule for the scan's newest event, whatever became of it; its log continues.
    /// Conflicts: `NoWebhook`, `DeliveryInProgress`, and `ScanInProgress` before it finished.
    pub async fn redeliver(&self, account: AccountId, scan: ScanId, now: Timestamp) -> Result<DeliveryId> {
        let delivery = self.write(move |conn| sql::redeliver(conn, account, scan, now)).await?;
        self.signal_deliveries();
        Ok(delivery)
    }

    fn unseal_claim(&self, row: sql::ClaimRow) -> Result<DeliveryClaim> {
        let url = self.sealer().open_text(Purpose::ScanWebhook, &row.scan.to_string(), &row.url)?;
        Ok(DeliveryClaim {
            id: row.id,
            attempt: row.attempt,
            try_number: row.try_number,
            account: row.account,
            scan: row.scan,
            event: row.event,
            event_name: row.event_name,
            target: WebhookTarget { url, url_host: row.url_host },
            body: row.body,
        })
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

fn view(row: sql::AttemptRow, target: WebhookTarget) -> AttemptView {
    AttemptView {
        delivery: row.delivery,
        event: row.event,
        event_name: row.event_name,
        number: row.number,
        target,
        started_at: row.started_at,
        millis: row.millis,
        address: row.address,
        status: row.status,
        error: row.error,
        response_head: row.response_head,
        next_attempt_at: row.next_at,
    }
}
