//! The store of FileSafety: scans and their queue, deliveries, events, accounts; uploads in flight.
//!
//! One method is one business transaction: it happens whole or not at all, and is durable when its future is ready.
//! SQLite is behind it; nothing of SQL shows outside, and `tests/contract.rs` holds for every backend.

mod accounts;
mod blob;
mod deliveries;
mod delivery_log;
mod error;
mod events;
mod lines;
mod queue;
mod retention;
mod scans;
mod secrets;
mod signing;
mod sqlite;
mod verdicts;

use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use blob::BlobFolder;
use secrets::Sealer;
use sqlite::{Readers, Writer, queue::Turns, schema};

pub use accounts::{Account, AccountChange, CustomHeader, KeyRecord, NewKey, Overage, Principal, Rate, Usage};
pub use blob::{Blob, BlobWriter};
pub use deliveries::{AttemptError, AttemptRecord, DeliveryStatus, FinishedAttempt, Next};
pub use delivery_log::{AttemptView, DeliveryFilter, DeliveryLog, DeliveryPage, DeliveryView, PlannedAttempt, Postponed};
pub use error::{Conflict, OpenError, QuotaExceeded, Result, StoreError};
pub use events::{After, EventPage, EventPlace, EventRecord};
pub use lines::{Claims, DeliveryClaim, Hold, Lane, Line, Turn};
pub use queue::{Beside, ClaimLimit, Claimed, Content, Lease, QueueDepths, Recovered};
pub use retention::{RetentionPolicy, Swept};
pub use scans::{
    Accepted, Announcement, ArchivePassword, Awaiting, Cursor, CursorError, Earlier, FileFacts, FirstDelivery, IdempotencyKey, ListFilter,
    NewScan, Outcome, Page, Place, Recorded, Reusable, ScanRecord, SourceRecord, StateRecord, Submission, UploadSlot, WebhookState,
    WebhookTarget,
};
pub use secrets::{MasterKey, MasterKeyError};
pub use signing::{NewSecret, SecretKind, SecretRecord, SecretState, SigningSecret};
pub use verdicts::{ContentPage, ContentPlace, KnownContent, VerdictTurn};

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
pub struct Store(Arc<Inner>);

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

#[derive(Debug)]
struct Inner {
    writer: Writer,
    readers: Readers,
    blobs: BlobFolder,
    sealer: Sealer,
    turns: Arc<Mutex<Turns>>,
    database: PathBuf,
    queue: watch::Sender<u64>,
    deliveries: watch::Sender<u64>,
    events: watch::Sender<u64>,
    /// Held for as long as the store is open with exclusive access.
    lock: Mutex<Option<fs::File>>,
}

impl Store {
    /// Opens the store, made or brought to this build's schema if need be.
    pub async fn open(options: Options) -> std::result::Result<Self, OpenError> {
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(&options)).await;
        opened.map_err(|error| OpenError::Store(StoreError::unavailable(error)))?
    }

    pub fn signals(&self) -> Signals {
        Signals { queue: self.0.queue.subscribe(), deliveries: self.0.deliveries.subscribe(), events: self.0.events.subscribe() }
    }

    /// Proves that the store can be read and written: a transaction that changes nothing.
    pub async fn ping(&self) -> Result<()> {
        self.read(sqlite::accounts::generation).await?;
        self.write(|_| Ok(())).await
    }

    /// Copies the store to a file that must not exist, while it is in use. Uploads in flight are not part of it.
    pub async fn backup(&self, path: &Path) -> Result<()> {
        let (source, target) = (self.0.database.clone(), path.to_owned());
        tokio::task::spawn_blocking(move || sqlite::backup(&source, &target)).await.map_err(StoreError::unavailable)?
    }

    /// Waits for what is queued, at most 10 s, then lets go of the files. Later calls are `Unavailable`.
    pub async fn close(&self) {
        const PATIENCE: Duration = Duration::from_secs(10);
        let inner = Arc::clone(&self.0);
        let (done, closed) = oneshot::channel();
        // A thread of its own: the runtime's may all be busy, and closing is the last thing a process does.
        let close = move || {
            inner.writer.close();
            inner.readers.close();
            inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
            // The caller may have lost its patience.
            let _ = done.send(());
        };
        if let Err(error) = thread::Builder::new().name("store-close".into()).spawn(close) {
            tracing::error!(%error, "the store did not close");
        } else if !matches!(tokio::time::timeout(PATIENCE, closed).await, Ok(Ok(()))) {
            tracing::error!("the store did not close in time");
        }
    }

    fn open_blocking(options: &Options) -> std::result::Result<Self, OpenError> {
        secrets::create_private_folder(&options.data_dir)?;
        let (sealer, database) = (options.master_key.sealer(), options.data_dir.join("filesafety.db"));
        let lock_file = lock_file(&options.data_dir)?;
        let exclusive = lock(&lock_file, options.access)?;
        if options.access == Access::Exclusive && !exclusive {
            return Err(OpenError::InUse);
        }
        let mut conn = sqlite::connect(&database, options.access)?;
        let found = schema::version(&conn)?;
        // A server of an older build must not find its tables changed under it.
        if found < schema::KNOWN && !exclusive {
            return Err(OpenError::OlderSchemaInUse { found });
        }
        schema::migrate(&mut conn)?;
        schema::check_master_key(&mut conn, &sealer)?;
        let blobs = BlobFolder::open(options.data_dir.join("uploads"))?;
        if options.access == Access::Exclusive {
            let orphans = blobs.sweep(&sqlite::scans::blobs(&conn)?)?;
            if orphans > 0 {
                tracing::info!(orphans, "deleted uploads that no scan has");
            }
        }
        let inner = Inner {
            readers: Readers::spawn(&database)?,
            writer: Writer::spawn(conn, options.access, options.data_dir.join("filesafety.db-wal"))?,
            blobs,
            sealer,
            turns: Arc::default(),
            database,
            queue: watch::Sender::new(0),
            deliveries: watch::Sender::new(0),
            events: watch::Sender::new(0),
            // A command beside the server took the lock only to look at the schema.
            lock: Mutex::new((options.access == Access::Exclusive).then_some(lock_file)),
        };
        Ok(Self(Arc::new(inner)))
    }

    pub(crate) async fn write<T: Send + 'static>(&self, job: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        self.0.writer.run(job).await
    }

    pub(crate) async fn read<T: Send + 'static>(&self, job: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        self.0.readers.run(job).await
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.0.writer
    }

    pub(crate) fn blobs(&self) -> &BlobFolder {
        &self.0.blobs
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.0.sealer
    }

    pub(crate) fn turns(&self) -> &Arc<Mutex<Turns>> {
        &self.0.turns
    }

    pub(crate) fn signal_queue(&self) {
        self.0.queue.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(crate) fn signal_deliveries(&self) {
        self.0.deliveries.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Tells, within this process, that another may have left something to do.
    pub fn signal_all(&self) {
        self.signal_queue();
        self.signal_finished();
    }

    /// A scan finished: there is an event, and perhaps a delivery.
    pub(crate) fn signal_finished(&self) {
        self.0.events.send_modify(|count| *count = count.wrapping_add(1));
        self.signal_deliveries();
    }
}

fn lock_file(folder: &Path) -> Result<fs::File> {
    let opened = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join("filesafety.lock"));
    opened.map_err(StoreError::unavailable)
}

/// Whether this process has the data folder for itself, until the file is closed.
fn lock(file: &fs::File, access: Access) -> Result<bool> {
    /// A command looks at the lock for a moment: a server must not take it for another server.
    const TRIES: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(25);
    let tries = match access {
        Access::Exclusive => TRIES,
        Access::Shared => 1,
    };
    for number in 1..=tries {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(fs::TryLockError::WouldBlock) if number < tries => thread::sleep(PAUSE),
            Err(fs::TryLockError::WouldBlock) => {}
            Err(fs::TryLockError::Error(error)) => return Err(StoreError::unavailable(error)),
        }
    }
    Ok(false)
}
