//! The queue: claims with a fencing token, and what a crash leaves behind.

use std::sync::{Arc, PoisonError};

use filesafety_model::{ScanId, Timestamp};
use rusqlite::Connection;

use crate::{
    Outcome, Result, ScanRecord, Store, StoreError,
    scans::Finish,
    secrets::Purpose,
    sqlite::{deliveries, queue as sql, scans},
};

/// A timed claim on a scan. The attempt number fences: what an older attempt writes fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    pub scan: ScanId,
    pub attempt: u32,
    pub until: Timestamp,
}

/// A scan handed to a worker.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub lease: Lease,
    pub scan: ScanRecord,
    pub content: Content,
    /// It ran during an unclean stop: run it with nothing beside it, and say so to [`Store::start`].
    pub suspect: bool,
    /// How often it ended without an outcome while it ran alone.
    pub crashes: u32,
}

/// How many scans to claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimLimit {
    pub total: u32,
    /// Of them in the sync lane. Less than `total` keeps a place for scans that nobody waits for.
    pub sync: u32,
}

/// Where a claimed scan's bytes are.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// In the store: [`Store::read_blob`].
    Blob { size: u64 },
    /// Still to be fetched. `Debug` does not show it.
    Url(String),
    /// Nowhere any more: end it `storage_lost`.
    Lost,
}

/// What else runs while a scan runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Other scans may run: a crash proves nothing about this one.
    Others,
    /// Nothing: a crash is this scan's.
    Nothing,
}

/// What an unclean stop left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Had started: they are run again one at a time.
    pub suspects: u64,
    /// Were claimed and not started: they are pending again.
    pub released: u64,
    /// Webhooks that were being sent: they come due again, a try poorer.
    pub deliveries: u64,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepths {
    pub awaiting_upload: u64,
    pub pending_sync: u64,
    pub pending_async: u64,
    /// Of the pending ones.
    pub suspects: u64,
    pub scanning: u64,
    pub deliveries_pending: u64,
    pub deliveries_delivering: u64,
}

impl Store {
    /// Claims up to `limit` scans until `until`: sync before async, but one in four is async while any waits; among async, accounts take turns.
    /// Never a suspect. Leases that ran out by `now` come back first. A row that cannot be read ends `failed`, is logged, and stops no other.
    pub async fn claim(&self, now: Timestamp, until: Timestamp, limit: impl Into<ClaimLimit>) -> Result<Vec<Claimed>> {
        let limit = limit.into();
        let turns = Arc::clone(self.turns());
        let job = move |conn: &Connection| {
            sql::recover(conn, Some(now))?;
            sql::claim(conn, &mut turns.lock().unwrap_or_else(PoisonError::into_inner), now, until, limit)
        };
        let claimed = self.write(job).await?;
        claimed.into_iter().map(|row| self.unseal(row)).collect()
    }

    /// Claims the oldest suspect, unless one is claimed already.
    pub async fn claim_suspect(&self, now: Timestamp, until: Timestamp) -> Result<Option<Claimed>> {
        let job = move |conn: &Connection| {
            sql::recover(conn, Some(now))?;
            sql::claim_suspect(conn, now, until)
        };
        self.write(job).await?.map(|row| self.unseal(row)).transpose()
    }

    /// Writes down that the scan runs, before its bytes are touched: from here on a crash counts.
    pub async fn start(&self, lease: Lease, beside: Beside) -> Result<()> {
        self.write(move |conn| sql::start(conn, lease, beside)).await
    }

    /// Extends leases; gives back those that are lost.
    pub async fn renew(&self, leases: &[Lease], until: Timestamp) -> Result<Vec<Lease>> {
        let leases = leases.to_vec();
        let job = move |conn: &Connection| {
            let mut lost = Vec::new();
            for lease in leases {
                match sql::renew(conn, lease, until) {
                    Ok(()) => {}
                    Err(StoreError::LeaseLost) => lost.push(lease),
                    Err(error) => return Err(error),
                }
            }
            Ok(lost)
        };
        self.write(job).await
    }

    /// Gives scans back to the queue in one transaction; leases that are lost are passed over.
    pub async fn release_many(&self, leases: &[Lease]) -> Result<()> {
        let leases = leases.to_vec();
        self.write(move |conn| {
            for lease in leases {
                match sql::release(conn, lease) {
                    Ok(()) | Err(StoreError::LeaseLost) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
        .await?;
        self.signal_queue();
        Ok(())
    }

    /// Gives a scan back to the queue; it never counts as a crash.
    pub async fn release(&self, lease: Lease) -> Result<()> {
        self.write(move |conn| sql::release(conn, lease)).await?;
        self.signal_queue();
        Ok(())
    }

    /// Ends a scan: verdict, event, delivery, the key of its bytes erased, and the quota given back when it failed, at once; then its bytes go.
    pub async fn complete(&self, lease: Lease, outcome: Outcome) -> Result<()> {
        self.complete_with(lease, outcome, false).await
    }

    /// As [`Store::complete`], with a judgement that was reused.
    pub async fn complete_deduplicated(&self, lease: Lease, outcome: Outcome) -> Result<()> {
        self.complete_with(lease, outcome, true).await
    }

    /// Ends a scan that [`Store::sweep`] gave as overdue, whoever holds it. `LeaseLost` when it ended meanwhile.
    pub async fn end_overdue(&self, scan: ScanId, outcome: Outcome) -> Result<()> {
        let finish = Finish::new(outcome, false)?;
        self.end(scan, finish, move |conn| sql::seize(conn, scan)).await
    }

    /// Puts back what an unclean stop left in `scanning` and `delivering`. Call it once, before the first claim, with exclusive access.
    pub async fn recover(&self) -> Result<Recovered> {
        let job = |conn: &Connection| Ok(Recovered { deliveries: deliveries::recover(conn)?, ..sql::recover(conn, None)? });
        let recovered = self.write(job).await?;
        self.signal_queue();
        self.signal_deliveries();
        Ok(recovered)
    }

    /// Cheap: it is counted as things move.
    pub async fn depths(&self) -> Result<QueueDepths> {
        self.read(|conn| Ok(QueueDepths { suspects: sql::suspects(conn)?, ..sql::depths(conn)? })).await
    }

    async fn complete_with(&self, lease: Lease, outcome: Outcome, deduplicated: bool) -> Result<()> {
        let finish = Finish::new(outcome, deduplicated)?;
        self.end(lease.scan, finish, move |conn| sql::hold(conn, lease)).await
    }

    async fn end(&self, scan: ScanId, finish: Finish, may: impl FnOnce(&Connection) -> Result<()> + Send + 'static) -> Result<()> {
        let blobs = self.blobs().clone();
        let job = move |conn: &Connection| {
            may(conn)?;
            let blob = scans::finish(conn, scan, &finish)?;
            scans::announce(conn, scan, &finish)?;
            Ok(blob)
        };
        self.writer().run_then(job, move |ended, reply| blobs.remove_then_reply(ended, reply)).await?;
        self.signal_finished();
        Ok(())
    }

    fn unseal(&self, row: sql::ClaimedRow) -> Result<Claimed> {
        let content = match (row.blob_size, row.url) {
            (Some(size), _) => Content::Blob { size },
            (None, Some(url)) => self.fetch_url(row.lease.scan, &url),
            (None, None) => Content::Lost,
        };
        let password = self.unseal_password(row.lease.scan, row.password.as_deref());
        Ok(Claimed { lease: row.lease, scan: ScanRecord { password, ..row.scan }, content, suspect: row.suspect, crashes: row.crashes })
    }

    /// One row that does not open must not stop the queue.
    fn fetch_url(&self, scan: ScanId, sealed: &[u8]) -> Content {
        match self.sealer().open_text(Purpose::FetchUrl, &scan.to_string(), sealed) {
            Ok(url) => Content::Url(url),
            Err(error) => {
                tracing::error!(%scan, %error, "the URL to fetch is lost");
                Content::Lost
            }
        }
    }
}

impl From<u32> for ClaimLimit {
    fn from(total: u32) -> Self {
        Self { total, sync: total }
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blob { size } => f.debug_struct("Blob").field("size", size).finish(),
            Self::Url(_) => f.write_str("Url([redacted])"),
            Self::Lost => f.write_str("Lost"),
        }
    }
}
