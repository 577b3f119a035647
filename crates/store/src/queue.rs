//! The queue: claims with a fencing token, and what a crash leaves behind.

use filesafety_model::{ScanId, Timestamp};

use crate::{Outcome, Result, ScanRecord, Store};

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

/// Where a claimed scan's bytes are.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// In the store: [`Store::read_blob`].
    Blob { size: u64 },
    /// Still to be fetched. `Debug` does not show it.
    Url(String),
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
    /// Never a suspect. Leases that ran out by `now` come back first.
    pub async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<Claimed>> {
        let _ = (now, until, limit);
        todo!()
    }

    /// Claims the oldest suspect, unless one is claimed already.
    pub async fn claim_suspect(&self, now: Timestamp, until: Timestamp) -> Result<Option<Claimed>> {
        let _ = (now, until);
        todo!()
    }

    /// Writes down that the scan runs, before its bytes are touched: from here on a crash counts.
    pub async fn start(&self, lease: Lease, beside: Beside) -> Result<()> {
        let _ = (lease, beside);
        todo!()
    }

    /// Extends leases; gives back those that are lost.
    pub async fn renew(&self, leases: &[Lease], until: Timestamp) -> Result<Vec<Lease>> {
        let _ = (leases, until);
        todo!()
    }

    /// Gives a scan back to the queue; it never counts as a crash.
    pub async fn release(&self, lease: Lease) -> Result<()> {
        let _ = lease;
        todo!()
    }

    /// Ends a scan: verdict, event, delivery, the key of its bytes erased, and the quota given back when it failed, at once; then its bytes go.
    pub async fn complete(&self, lease: Lease, outcome: Outcome) -> Result<()> {
        let _ = (lease, outcome);
        todo!()
    }

    /// Ends a scan that [`Store::sweep`] gave as overdue, whoever holds it.
    pub async fn end_overdue(&self, scan: ScanId, outcome: Outcome) -> Result<()> {
        let _ = (scan, outcome);
        todo!()
    }

    /// Puts what an unclean stop left in `scanning` back into the queue. Call it once, before the first claim, with exclusive access.
    pub async fn recover(&self) -> Result<Recovered> {
        todo!()
    }

    pub async fn depths(&self) -> Result<QueueDepths> {
        todo!()
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blob { size } => f.debug_struct("Blob").field("size", size).finish(),
            Self::Url(_) => f.write_str("Url([redacted])"),
        }
    }
}
