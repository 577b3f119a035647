//! The store of FileSafety: scans and their queue, deliveries, events, accounts; uploads in flight.
//!
//! One method is one business transaction: it happens whole or not at all, and is durable when its future is ready.
//! SQLite is behind it; nothing of SQL shows outside, and `tests/contract.rs` holds for every backend.

mod accounts;
mod blob;
mod deliveries;
mod error;
mod events;
mod queue;
mod retention;
mod scans;
mod secrets;

use std::path::{Path, PathBuf};

use tokio::sync::watch;

pub use accounts::{Account, AccountChange, KeyRecord, NewKey, Overage, Principal, Rate, SigningSecret, Usage};
pub use blob::{Blob, BlobWriter};
pub use deliveries::{AttemptError, AttemptRecord, AttemptView, DeliveryClaim, DeliveryStatus, Next};
pub use error::{Conflict, OpenError, QuotaExceeded, Result, StoreError};
pub use events::{EventPage, EventRecord};
pub use queue::{Beside, Claimed, Content, Lease, QueueDepths, Recovered};
pub use retention::{RetentionPolicy, Swept};
pub use scans::{
    Accepted, Announcement, Awaiting, Cursor, CursorError, Earlier, FileFacts, FirstDelivery, IdempotencyKey, ListFilter, NewScan, Outcome,
    Page, Place, Recorded, Reusable, ScanRecord, SourceRecord, StateRecord, Submission, UploadSlot, WebhookState, WebhookTarget,
};
pub use secrets::{MasterKey, MasterKeyError};

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// Made if it is not there.
    pub data_dir: PathBuf,
    pub master_key: MasterKey,
    pub access: Access,
}

/// Who else may use the data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The server: one process. Sweeps uploads that no row names.
    Exclusive,
    /// A command beside it.
    Shared,
}

/// A handle to the store; clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {}

/// Tell, within this process, that there may be something new to do. The value counts up.
#[derive(Clone, Debug)]
pub struct Signals {
    /// Scans to claim.
    pub queue: watch::Receiver<u64>,
    /// Deliveries to make, or another time of the next.
    pub deliveries: watch::Receiver<u64>,
    /// Events to stream.
    pub events: watch::Receiver<u64>,
}

impl Store {
    /// Opens the store, made or brought to this build's schema if need be.
    pub async fn open(options: Options) -> std::result::Result<Self, OpenError> {
        let _ = options;
        todo!()
    }

    pub fn signals(&self) -> Signals {
        todo!()
    }

    /// Proves that the store can be written: a transaction that changes nothing.
    pub async fn ping(&self) -> Result<()> {
        todo!()
    }

    /// Copies the store to a file that must not exist, while it is in use. Uploads in flight are not part of it.
    pub async fn backup(&self, path: &Path) -> Result<()> {
        let _ = path;
        todo!()
    }

    /// Waits for what is queued, then lets go of the files. Later calls are `Unavailable`.
    pub async fn close(&self) {
        todo!()
    }
}
