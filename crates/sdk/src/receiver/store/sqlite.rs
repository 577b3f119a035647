//! The usual store: an SQLite file, of its own or the application's. One writer thread commits what waits as one group.

mod inbox;
mod lists;
mod schema;
mod writer;

use std::{
    fs,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    Acceptance, Admission, Claim, Claims, Counts, DeadLetter, EventKey, NewEvent, Outcome, Settled, Store, StoreError, StoreFuture, StoreId,
};
use crate::receiver::{HandlerError, ScanEvent, TransactionHandler};
use writer::Writer;

/// How long a transaction waits for another process to end its own.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Statements kept prepared; there are fewer.
const STATEMENTS: usize = 64;

/// An SQLite file that holds the receiver's tables: `processed_webhooks`, `filesafety_inbox`, `filesafety_pending`, `filesafety_schema`.
/// Other tables in it are left alone, so it can be the application's own database. Clones share one connection.
///
/// An event is acknowledged once it is on the disk (write-ahead log, `synchronous=FULL`).
#[derive(Clone, Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: StoreId,
    writer: Writer,
    reader: Arc<Mutex<Connection>>,
    /// Held as long as this process receives.
    _lock: Option<fs::File>,
}

type Result<T> = std::result::Result<T, StoreError>;

impl SqliteStore {
    /// Opens the file for the one process that receives into it, and makes it, readable by its owner alone, if it is not there.
    /// The process holds a lock on the file's name with `-receiver.lock` behind it; a second one gets [`StoreError::InUse`].
    ///
    /// Reads and writes a few blocks before it returns.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let lock = lock(path)?;
        Self::connect(path, Some(lock))
    }

    /// Opens the file beside a process that receives: to add to the pending set, to list dead letters and to replay them.
    pub fn open_beside(path: impl AsRef<Path>) -> Result<Self> {
        Self::connect(path.as_ref(), None)
    }

    fn connect(path: &Path, lock: Option<fs::File>) -> Result<Self> {
        let conn = open_connection(path)?;
        schema::prepare(&conn)?;
        let reader = open_connection(path)?;
        reader.pragma_update(None, "query_only", "ON")?;
        let writer = Writer::spawn(conn, beside(path, "-wal"))?;
        let inner = Inner { id: StoreId::default(), writer, reader: Arc::new(Mutex::new(reader)), _lock: lock };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A handler whose effect and the event's mark are one commit: after a crash there are both or neither.
    ///
    /// `handler` gets the connection inside a transaction, which it must not end, and runs on the writer's thread: everything else waits
    /// for it, so it should write its rows and be done. An `Err` takes back what it wrote; the event is tried again later.
    pub fn in_transaction<F>(&self, handler: F) -> TransactionHandler
    where
        F: Fn(&Connection, &ScanEvent) -> std::result::Result<(), HandlerError> + Send + Sync + 'static,
    {
        let (store, handler) = (self.clone(), Arc::new(handler));
        TransactionHandler::new(self.inner.id.clone(), move |event, claim, now| {
            let (store, handler) = (store.clone(), Arc::clone(&handler));
            Box::pin(async move {
                let run = move |conn: &Connection| {
                    // The mark first: whoever lost the claim must leave no effect.
                    if inbox::settle(conn, &claim, &Outcome::Handled, now)? == Settled::Lost {
                        return Ok(Ok(Settled::Lost));
                    }
                    match handler(conn, &event) {
                        Ok(()) => Ok(Ok(Settled::Written)),
                        Err(error) => Ok(Err(error)),
                    }
                };
                store.inner.writer.run_if(run, |result| result.is_ok()).await?
            })
        })
    }

    async fn read<T: Send + 'static>(&self, query: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        let reader = Arc::clone(&self.inner.reader);
        let read = tokio::task::spawn_blocking(move || query(&reader.lock().unwrap_or_else(PoisonError::into_inner)));
        read.await.map_err(StoreError::unavailable)?
    }

    fn write<'a, T: Send + 'static>(&'a self, job: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> StoreFuture<'a, T> {
        Box::pin(self.inner.writer.run(job))
    }
}

impl Store for SqliteStore {
    fn id(&self) -> &StoreId {
        &self.inner.id
    }

    fn recover(&self, now: SystemTime) -> StoreFuture<'_, ()> {
        // The lock on the file says that whoever had claimed something is gone.
        let sole = self.inner._lock.is_some();
        self.write(move |conn| if sole { inbox::free_claims(conn, now) } else { Ok(()) })
    }

    fn accept(&self, event: NewEvent, admission: Admission, now: SystemTime) -> StoreFuture<'_, Acceptance> {
        self.write(move |conn| inbox::accept(conn, &event, admission, now))
    }

    fn claim(&self, most: usize, now: SystemTime, until: SystemTime) -> StoreFuture<'_, Claims> {
        // A claim need only outlive this process, so that a try is counted even if it ends us. After a power cut the event is due again.
        Box::pin(self.inner.writer.run_relaxed(move |conn| inbox::claim(conn, most, now, until)))
    }

    fn settle(&self, claim: Claim, outcome: Outcome, now: SystemTime) -> StoreFuture<'_, Settled> {
        self.write(move |conn| inbox::settle(conn, &claim, &outcome, now))
    }

    fn add_pending(&self, scan_ids: Vec<String>, now: SystemTime) -> StoreFuture<'_, ()> {
        self.write(move |conn| lists::add_pending(conn, &scan_ids, now))
    }

    fn is_pending(&self, scan_id: &str) -> StoreFuture<'_, bool> {
        let scan_id = scan_id.to_owned();
        Box::pin(self.read(move |conn| inbox::is_pending(conn, &scan_id)))
    }

    fn dead_letters(&self, after: Option<EventKey>, most: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
        Box::pin(self.read(move |conn| lists::dead_letters(conn, after.as_ref(), most)))
    }

    fn replay(&self, key: EventKey, now: SystemTime) -> StoreFuture<'_, bool> {
        self.write(move |conn| lists::replay(conn, &key, now))
    }

    fn counts(&self) -> StoreFuture<'_, Counts> {
        Box::pin(self.read(lists::counts))
    }

    fn sweep(&self, before: SystemTime) -> StoreFuture<'_, u64> {
        self.write(move |conn| lists::sweep(conn, before))
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        let store = self.clone();
        Box::pin(async move { tokio::task::spawn_blocking(move || store.inner.writer.close()).await.map_err(StoreError::unavailable) })
    }
}

fn lock(path: &Path) -> Result<fs::File> {
    let name = beside(path, "-receiver.lock");
    let open = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&name);
    let file = open.map_err(|error| StoreError::unavailable(format!("{}: {error}", name.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::InUse(path.display().to_string())),
        Err(fs::TryLockError::Error(error)) => Err(StoreError::unavailable(error)),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn open_connection(path: &Path) -> Result<Connection> {
    let open = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    open.map_err(|error| StoreError::unavailable(format!("{}: {error}", path.display())))?;
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // Else a plan that looked at bound values is made anew with each of them.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.busy_timeout(LOCK_PATIENCE)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // The writer checkpoints by itself, after it has answered.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(conn)
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{ConstraintViolation, DatabaseCorrupt, NotADatabase, TypeMismatch};
        match &error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => Self::Corrupt(error.to_string()),
            rusqlite::Error::SqliteFailure(code, _)
                if matches!(code.code, ConstraintViolation | DatabaseCorrupt | NotADatabase | TypeMismatch) =>
            {
                Self::Corrupt(error.to_string())
            }
            _ => Self::unavailable(error),
        }
    }
}
