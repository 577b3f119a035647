//! The log of attempts, and lists of deliveries.

use filesafety_model::{AccountId, DeliveryId, EventId, ScanId, Timestamp};

use crate::{AttemptError, DeliveryStatus, Result, Store, WebhookTarget, secrets::Purpose, sqlite::delivery_log as sql};

/// What was and what will be done to tell of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryLog {
    /// Oldest first.
    pub attempts: Vec<AttemptView>,
    /// The next attempt of each delivery that waits for one.
    pub planned: Vec<PlannedAttempt>,
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
    /// The version of TLS that was spoken: `1.3`.
    pub tls: Option<String>,
    pub status: Option<u16>,
    pub error: Option<AttemptError>,
    pub response_head: Vec<u8>,
    /// When the next attempt was due by this one's outcome; `None`: there was to be none.
    pub next_attempt_at: Option<Timestamp>,
}

/// An attempt that is still to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedAttempt {
    pub delivery: DeliveryId,
    pub event: EventId,
    pub event_name: String,
    pub number: u32,
    pub target: WebhookTarget,
    /// Not before then.
    pub at: Timestamp,
    pub postponed: Option<Postponed>,
}

/// Why an attempt is not made when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Postponed {
    /// The circuit of its host is open.
    Circuit,
    /// An earlier event of its scan is still to be delivered.
    EarlierEvent,
}

/// Which deliveries to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    pub status: Option<DeliveryStatus>,
    /// Inclusive, on when they were made.
    pub since: Option<Timestamp>,
    /// Exclusive.
    pub until: Option<Timestamp>,
    /// How many to give at most; clamped to 1..=100.
    pub limit: u32,
    /// The last one of the page before.
    pub cursor: Option<DeliveryId>,
}

/// A delivery as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryView {
    pub id: DeliveryId,
    pub scan: ScanId,
    pub event: EventId,
    pub event_name: String,
    pub sequence: u32,
    pub target: WebhookTarget,
    pub created_at: Timestamp,
    pub status: DeliveryStatus,
    pub attempts: u32,
    /// Whether a later event of its scan followed: only the newest is delivered again.
    pub superseded: bool,
    /// While it is pending.
    pub next: Option<PlannedAttempt>,
    pub last: Option<AttemptView>,
}

/// A stretch of the list, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryPage {
    pub deliveries: Vec<DeliveryView>,
    /// `None`: nothing follows.
    pub next: Option<DeliveryId>,
}

impl Store {
    /// Every attempt to tell of the scan, and those that are planned. Another account's scan is `NotFound`.
    pub async fn deliveries(&self, account: AccountId, scan: ScanId) -> Result<DeliveryLog> {
        let rows = self.read(move |conn| sql::of_scan(conn, account, scan)).await?;
        let Some(sealed) = rows.target else { return Ok(DeliveryLog::default()) };
        let target = self.unseal_target(scan, sealed)?;
        Ok(DeliveryLog {
            attempts: rows.attempts.into_iter().map(|row| attempt(row, target.clone())).collect(),
            planned: rows.planned.into_iter().map(|row| planned(row, target.clone())).collect(),
        })
    }

    /// The account's deliveries, newest first.
    pub async fn delivery_list(&self, account: AccountId, filter: DeliveryFilter) -> Result<DeliveryPage> {
        let limit = filter.limit.clamp(1, 100);
        let mut rows = self.read(move |conn| sql::list(conn, account, &filter, limit + 1)).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|last| last.id);
        let deliveries = rows.into_iter().map(|row| self.delivery(row)).collect::<Result<_>>()?;
        Ok(DeliveryPage { deliveries, next })
    }

    fn delivery(&self, row: sql::DeliveryRow) -> Result<DeliveryView> {
        let target = self.unseal_target(row.scan, row.target)?;
        let next = row.next.map(|(at, postponed)| PlannedAttempt {
            delivery: row.id,
            event: row.event,
            event_name: row.event_name.clone(),
            number: row.attempts.saturating_add(1),
            target: target.clone(),
            at,
            postponed,
        });
        Ok(DeliveryView {
            id: row.id,
            scan: row.scan,
            event: row.event,
            event_name: row.event_name,
            sequence: row.sequence,
            created_at: row.created_at,
            status: row.status,
            attempts: row.attempts,
            superseded: row.superseded,
            next,
            last: row.last.map(|last| attempt(last, target.clone())),
            target,
        })
    }

    fn unseal_target(&self, scan: ScanId, (url, url_host): sql::SealedTarget) -> Result<WebhookTarget> {
        let url = self.sealer().open_text(Purpose::ScanWebhook, &scan.to_string(), &url)?;
        Ok(WebhookTarget { url, url_host })
    }
}

fn attempt(row: sql::AttemptRow, target: WebhookTarget) -> AttemptView {
    AttemptView {
        delivery: row.delivery,
        event: row.event,
        event_name: row.event_name,
        number: row.number,
        target,
        started_at: row.started_at,
        millis: row.millis,
        address: row.address,
        tls: row.tls,
        status: row.status,
        error: row.error,
        response_head: row.response_head,
        next_attempt_at: row.next_at,
    }
}

fn planned(row: sql::PlannedRow, target: WebhookTarget) -> PlannedAttempt {
    PlannedAttempt {
        delivery: row.delivery,
        event: row.event,
        event_name: row.event_name,
        number: row.number,
        target,
        at: row.at,
        postponed: row.postponed,
    }
}
