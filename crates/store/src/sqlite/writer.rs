//! The one writer: a thread that commits what waits as one group, and answers once that is durable.

use std::{
    fs,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{Access, Result, StoreError};

/// Transactions that may wait for the writer; callers beyond wait for room.
const WAITING: usize = 4096;

/// Transactions in one group. More would make the first wait long for its answer.
const GROUP: usize = 512;

/// The log is written back into the database after this many transactions, or when nothing was to do for so long.
const CHECKPOINT: usize = 1000;
const IDLE: Duration = Duration::from_millis(300);

/// A log of this many pages is kept alive by long reads: worth waiting for them.
const LONG_LOG: i64 = 16 * 1024;

/// The log's file is laid out beforehand: to make an overwrite durable takes a fraction of what making a file longer takes.
const LAID_OUT: usize = 8 * 1024 * 1024;

/// How long a checkpoint waits for readers.
const READERS_PATIENCE: Duration = Duration::from_millis(50);

/// A handle to the writer's thread.
#[derive(Debug)]
pub(crate) struct Writer {
    messages: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
    erased: Arc<AtomicBool>,
}

/// Where the result of a transaction goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

enum Message {
    Run(Box<dyn Job>),
    Close,
}

/// One transaction of a group.
trait Job: Send {
    /// Whether what it did is to be committed.
    fn run(&mut self, conn: &Connection) -> bool;
    /// Answers. `commit` tells whether the group was committed.
    fn settle(self: Box<Self>, commit: std::result::Result<(), Cause>);
}

/// Why a group was not committed, for each of its transactions.
type Cause = Arc<dyn std::error::Error + Send + Sync>;

struct Transaction<T, J, A> {
    job: Option<J>,
    after: A,
    result: Option<Result<T>>,
    _room: OwnedSemaphorePermit,
}

impl Writer {
    pub(crate) fn spawn(conn: Connection, access: Access, wal: PathBuf) -> Result<Self> {
        let (messages, inbox) = mpsc::channel();
        let erased = Arc::new(AtomicBool::new(false));
        let writing = Writing { conn, access, wal, since_checkpoint: 0, erased: Arc::clone(&erased) };
        let thread =
            thread::Builder::new().name("store-writer".into()).spawn(move || writing.serve(&inbox)).map_err(StoreError::unavailable)?;
        Ok(Self { messages, room: Arc::new(Semaphore::new(WAITING)), thread: Mutex::new(Some(thread)), erased })
    }

    /// Something was erased that must not stay in the log.
    pub(crate) fn mark_erased(&self) {
        self.erased.store(true, Ordering::Release);
    }

    /// Runs `job` in a transaction of its own; ready once it is durable. An `Err` leaves nothing behind.
    ///
    /// A caller that goes away stops nothing: the transaction happens all the same.
    pub(crate) async fn run<T: Send + 'static>(&self, job: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        self.run_then(job, |result, reply| drop(reply.send(result))).await
    }

    /// As [`Writer::run`]; `after` gets the result once it is durable, and answers, now or later. It runs on the writer's thread: it must not wait.
    pub(crate) async fn run_then<T, U>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        after: impl FnOnce(Result<T>, Reply<U>) + Send + 'static,
    ) -> Result<U>
    where
        T: Send + 'static,
        U: Send + 'static,
    {
        let room = self.room.clone().acquire_owned().await.map_err(StoreError::unavailable)?;
        let (reply, answer) = oneshot::channel();
        let after = move |result| after(result, reply);
        let job = Box::new(Transaction { job: Some(job), after, result: None, _room: room });
        self.messages.send(Message::Run(job)).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Waits for what is queued, and ends the thread.
    pub(crate) fn close(&self) {
        // An error means that it has ended already.
        let _ = self.messages.send(Message::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the store's writer broke off");
        }
    }
}

fn closed() -> StoreError {
    StoreError::unavailable("the store is closed")
}

impl<T, J, A> Job for Transaction<T, J, A>
where
    T: Send,
    J: FnOnce(&Connection) -> Result<T> + Send,
    A: FnOnce(Result<T>) + Send,
{
    fn run(&mut self, conn: &Connection) -> bool {
        let Some(job) = self.job.take() else { return false };
        // One broken transaction must not take the writer from all others.
        let result = catch_unwind(AssertUnwindSafe(|| job(conn)));
        let result = result.unwrap_or_else(|_| Err(StoreError::Corrupt("a transaction broke off".into())));
        self.result.insert(result).is_ok()
    }

    fn settle(self: Box<Self>, commit: std::result::Result<(), Cause>) {
        let result = match (self.result, commit) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(_)) | None, Err(cause)) => Err(StoreError::unavailable(Failed(cause))),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(StoreError::unavailable("the transaction was not run")),
        };
        (self.after)(result);
    }
}

/// A cause shared by a group.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(Cause);

/// What the thread has.
struct Writing {
    conn: Connection,
    access: Access,
    wal: PathBuf,
    since_checkpoint: usize,
    erased: Arc<AtomicBool>,
}

impl Writing {
    fn serve(mut self, inbox: &mpsc::Receiver<Message>) {
        self.checkpoint("TRUNCATE");
        self.lay_out_log();
        loop {
            let first = match inbox.recv_timeout(IDLE) {
                Ok(Message::Run(job)) => job,
                Ok(Message::Close) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.rest();
                    continue;
                }
            };
            let mut group = vec![first];
            let mut closing = false;
            while group.len() < GROUP && !closing {
                match inbox.try_recv() {
                    Ok(Message::Run(job)) => group.push(job),
                    Ok(Message::Close) => closing = true,
                    Err(mpsc::TryRecvError::Empty | mpsc::TryRecvError::Disconnected) => break,
                }
            }
            self.since_checkpoint += group.len();
            commit(&self.conn, group);
            if closing {
                break;
            }
            if self.since_checkpoint >= CHECKPOINT {
                self.bound_log();
            }
        }
        self.checkpoint("TRUNCATE");
    }

    /// Keeps the log from growing while there is always something to do.
    fn bound_log(&mut self) {
        self.since_checkpoint = 0;
        // A passive checkpoint disturbs nobody.
        if self.checkpoint("PASSIVE").is_some_and(|log| log.pages > LONG_LOG) {
            self.checkpoint("RESTART");
        }
    }

    /// Uses a quiet moment: what was erased goes from the log, too.
    fn rest(&mut self) {
        if self.erased.load(Ordering::Acquire) {
            if self.checkpoint("TRUNCATE").is_some_and(|log| !log.blocked) {
                self.erased.store(false, Ordering::Release);
                self.lay_out_log();
            }
        } else if self.since_checkpoint > 0 {
            self.checkpoint("PASSIVE");
        }
        self.since_checkpoint = 0;
    }

    fn checkpoint(&mut self, mode: &str) -> Option<Log> {
        let run = || -> rusqlite::Result<Log> {
            self.conn.busy_timeout(READERS_PATIENCE)?;
            self.conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| Ok(Log { blocked: row.get(0)?, pages: row.get(1)? }))
        };
        let done = run();
        if let Err(error) = super::set_patience(&mut self.conn, self.access) {
            tracing::warn!(%error, "the store's writer has no patience left");
        }
        done.inspect_err(|error| tracing::warn!(%error, "the store's log could not be written back")).ok()
    }

    /// Fills an empty log with zeros, which are no header, and so still an empty log
    /// (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
    fn lay_out_log(&self) {
        if self.access == Access::Shared {
            return;
        }
        let fill = || -> std::result::Result<(), Box<dyn std::error::Error>> {
            // The lock keeps other processes from writing to the log meanwhile.
            self.conn.execute_batch("BEGIN IMMEDIATE")?;
            let mut file = fs::OpenOptions::new().write(true).open(&self.wal)?;
            if file.metadata()?.len() == 0 {
                file.write_all(&vec![0; LAID_OUT])?;
                file.sync_all()?;
            }
            Ok(())
        };
        if let Err(error) = fill() {
            // It only makes the next transactions slower.
            tracing::warn!(%error, "the store's log could not be laid out");
        }
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "the store could not roll back");
        }
    }
}

/// What a checkpoint found.
struct Log {
    /// It did not come to its end.
    blocked: bool,
    pages: i64,
}

/// Runs a group in one SQLite transaction, each in a savepoint where it is not alone, and answers all once it is durable.
fn commit(conn: &Connection, group: Vec<Box<dyn Job>>) {
    let mut waiting = group.into_iter().peekable();
    // More than one round only when SQLite gave up the transaction in the middle: what was not run yet gets another.
    while waiting.peek().is_some() {
        let mut ran = Vec::with_capacity(waiting.len());
        let result = run_group(conn, &mut waiting, &mut ran).map_err(|error| -> Cause { Arc::new(error) });
        if let Err(cause) = &result {
            tracing::warn!(error = %cause, "a group of transactions could not be committed");
            if !conn.is_autocommit()
                && let Err(error) = conn.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "the store could not roll back");
            }
        }
        if ran.is_empty() {
            // It did not even begin: the same would happen to the next.
            waiting.by_ref().for_each(|job| job.settle(result.clone()));
        }
        ran.into_iter().for_each(|job| job.settle(result.clone()));
    }
}

fn run_group(conn: &Connection, waiting: &mut dyn Iterator<Item = Box<dyn Job>>, ran: &mut Vec<Box<dyn Job>>) -> rusqlite::Result<()> {
    let execute = |sql| conn.prepare_cached(sql)?.execute([]).map(drop);
    let alone = waiting.size_hint() == (1, Some(1));
    execute("BEGIN IMMEDIATE")?;
    for mut job in waiting {
        if alone {
            let keep = job.run(conn);
            ran.push(job);
            return match (conn.is_autocommit(), keep) {
                (true, _) => Err(given_up()),
                (false, true) => execute("COMMIT"),
                (false, false) => execute("ROLLBACK"),
            };
        }
        let saved = execute("SAVEPOINT job");
        let keep = saved.is_ok() && job.run(conn);
        ran.push(job);
        saved?;
        if conn.is_autocommit() {
            return Err(given_up());
        }
        if !keep {
            execute("ROLLBACK TO job")?;
        }
        execute("RELEASE job")?;
    }
    execute("COMMIT")
}

/// SQLite ends the whole transaction itself when the disk is full or fails.
fn given_up() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT);
    rusqlite::Error::SqliteFailure(code, Some("the transaction was rolled back: the disk is full or fails".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(text: String) -> impl FnOnce(&Connection) -> Result<()> {
        move |conn| Ok(conn.execute("INSERT INTO t VALUES (?1)", [text]).map(drop)?)
    }

    fn writer() -> (tempfile::TempDir, Writer) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let conn = super::super::connect(&path, Access::Exclusive).unwrap();
        conn.execute_batch("CREATE TABLE t (x TEXT)").unwrap();
        (folder, Writer::spawn(conn, Access::Exclusive, path.with_extension("db-wal")).unwrap())
    }

    async fn count(writer: &Writer) -> i64 {
        writer.run(|conn| Ok(conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)).await.unwrap()
    }

    #[tokio::test]
    async fn a_failed_or_broken_transaction_leaves_nothing_and_harms_no_other() {
        let (_folder, writer) = writer();
        let refused = writer.run(|conn| {
            insert("a".into())(conn)?;
            Err::<(), _>(StoreError::LeaseLost)
        });
        let broken = writer.run(|conn| {
            insert("b".into())(conn)?;
            if conn.is_autocommit() { Ok(()) } else { panic!("on purpose") }
        });
        let (refused, broken, kept) = tokio::join!(refused, broken, writer.run(insert("c".into())));
        assert!(matches!(refused, Err(StoreError::LeaseLost)));
        assert!(matches!(broken, Err(StoreError::Corrupt(_))));
        kept.unwrap();
        assert_eq!(count(&writer).await, 1);
        // And where it is the only one of its group.
        let alone = writer.run(|conn| insert("d".into())(conn).and(Err::<(), _>(StoreError::LeaseLost))).await;
        assert!(matches!(alone, Err(StoreError::LeaseLost)));
        let broken = writer.run(|conn| if insert("e".into())(conn).is_ok() { panic!("on purpose") } else { Ok(()) }).await;
        assert!(matches!(broken, Err(StoreError::Corrupt(_))));
        assert_eq!(count(&writer).await, 1);
    }

    #[tokio::test]
    async fn recovers_from_a_full_disk() {
        let (_folder, writer) = writer();
        let limit = |pages: u32| writer.run(move |conn| Ok(conn.pragma_update(None, "max_page_count", pages)?));
        limit(3).await.unwrap();
        let large = || writer.run(insert("x".repeat(100_000)));
        let (first, second, third) = tokio::join!(large(), large(), large());
        for result in [first, second, third] {
            assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
        }
        limit(1_000_000).await.unwrap();
        large().await.unwrap();
        assert_eq!(count(&writer).await, 1);
    }

    #[tokio::test]
    async fn answers_after_its_end() {
        let (_folder, writer) = writer();
        writer.close();
        assert!(matches!(writer.run(insert("a".into())).await, Err(StoreError::Unavailable(_))));
    }
}
