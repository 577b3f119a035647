//! The one writer: a thread that commits what waits as one group, and answers once that is durable.

use std::{
    fs,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{LOCK_PATIENCE, Result};
use crate::receiver::store::StoreError;

/// Transactions that may wait for the writer; callers beyond wait for room.
const WAITING: usize = 4096;

/// Transactions in one group. More would make the first wait long for its answer.
const GROUP: usize = 512;

/// The log is written back into the database after this many transactions, or when nothing was to do for so long.
const CHECKPOINT: usize = 1000;
const IDLE: Duration = Duration::from_millis(300);

/// A log of this many pages is kept alive by long reads: worth waiting for them, for a while.
const LONG_LOG: i64 = 16 * 1024;
const READERS_PATIENCE: Duration = Duration::from_millis(50);

/// The log's file is laid out beforehand: to make an overwrite durable takes a fraction of what making a file longer takes.
const LAID_OUT: usize = 8 * 1024 * 1024;

/// A handle to the writer's thread.
#[derive(Debug)]
pub(super) struct Writer {
    messages: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Run(Box<dyn Job>),
    Close,
}

/// One transaction of a group.
trait Job: Send {
    /// Whether its caller waits for the disk.
    fn durability(&self) -> Durability;
    /// Whether what it did is to be committed.
    fn run(&mut self, conn: &Connection) -> bool;
    /// Answers. `commit` tells whether the group was committed.
    fn settle(self: Box<Self>, commit: std::result::Result<(), Cause>);
}

/// Why a group was not committed, for each of its transactions.
type Cause = Arc<rusqlite::Error>;

/// What a transaction survives once it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// A power cut.
    Disk,
    /// The end of this process. A power cut takes it back; it never leaves half of it.
    Process,
}

struct Transaction<T, J> {
    job: Option<J>,
    durability: Durability,
    keep: fn(&T) -> bool,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
    _room: OwnedSemaphorePermit,
}

impl Writer {
    pub(super) fn spawn(conn: Connection, wal: PathBuf) -> Result<Self> {
        let (messages, inbox) = mpsc::channel();
        let writing = Writing { conn, wal, since_checkpoint: 0, synced: Durability::Disk };
        let thread = thread::Builder::new().name("webhook-inbox".into()).spawn(move || writing.serve(&inbox));
        let thread = Mutex::new(Some(thread.map_err(StoreError::unavailable)?));
        Ok(Self { messages, room: Arc::new(Semaphore::new(WAITING)), thread })
    }

    /// Runs `job` in a transaction of its own; ready once it is durable. An `Err` leaves nothing behind.
    ///
    /// A caller that goes away stops nothing: the transaction happens all the same.
    pub(super) async fn run<T: Send + 'static>(&self, job: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        self.queue(job, |_| true, Durability::Disk).await
    }

    /// As [`Writer::run`], without waiting for the disk.
    pub(super) async fn run_relaxed<T: Send + 'static>(&self, job: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        self.queue(job, |_| true, Durability::Process).await
    }

    /// As [`Writer::run`]; what `keep` refuses leaves nothing behind either.
    pub(super) async fn run_if<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        keep: fn(&T) -> bool,
    ) -> Result<T> {
        self.queue(job, keep, Durability::Disk).await
    }

    async fn queue<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        keep: fn(&T) -> bool,
        durability: Durability,
    ) -> Result<T> {
        let room = self.room.clone().acquire_owned().await.map_err(StoreError::unavailable)?;
        let (reply, answer) = oneshot::channel();
        let transaction = Box::new(Transaction { job: Some(job), durability, keep, result: None, reply, _room: room });
        self.messages.send(Message::Run(transaction)).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Waits for what is queued, and ends the thread.
    pub(super) fn close(&self) {
        // An error means that it has ended already.
        let _ = self.messages.send(Message::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the receiver's writer broke off");
        }
    }
}

fn closed() -> StoreError {
    StoreError::unavailable("it is closed")
}

impl<T, J> Job for Transaction<T, J>
where
    T: Send,
    J: FnOnce(&Connection) -> Result<T> + Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, conn: &Connection) -> bool {
        let Some(job) = self.job.take() else { return false };
        // One broken transaction must not take the writer from all others.
        let result = catch_unwind(AssertUnwindSafe(|| job(conn)));
        let result = result.unwrap_or_else(|_| Err(StoreError::Corrupt("a transaction panicked".into())));
        self.result.insert(result).as_ref().is_ok_and(self.keep)
    }

    fn settle(self: Box<Self>, commit: std::result::Result<(), Cause>) {
        let result = match (self.result, commit) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(_)) | None, Err(cause)) => Err(StoreError::unavailable(cause)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(StoreError::unavailable("the transaction was not run")),
        };
        // Whoever went away has no use for the answer.
        let _ = self.reply.send(result);
    }
}

/// What the thread has.
struct Writing {
    conn: Connection,
    wal: PathBuf,
    since_checkpoint: usize,
    synced: Durability,
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
                    if self.since_checkpoint > 0 {
                        self.checkpoint("PASSIVE");
                    }
                    self.since_checkpoint = 0;
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
            match self.set_durability(&group).map_err(Cause::new) {
                Ok(()) => commit(&self.conn, group),
                // Nothing is promised that cannot be kept.
                Err(cause) => group.into_iter().for_each(|job| job.settle(Err(Cause::clone(&cause)))),
            }
            if closing {
                break;
            }
            if self.since_checkpoint >= CHECKPOINT {
                self.bound_log();
            }
        }
        self.checkpoint("TRUNCATE");
    }

    /// A group waits for the disk if one of its transactions does. What was not waited for goes to the disk with the next that was.
    fn set_durability(&mut self, group: &[Box<dyn Job>]) -> rusqlite::Result<()> {
        let wanted = if group.iter().any(|job| job.durability() == Durability::Disk) { Durability::Disk } else { Durability::Process };
        if wanted != self.synced {
            let mode = match wanted {
                Durability::Disk => "FULL",
                Durability::Process => "NORMAL",
            };
            self.conn.pragma_update(None, "synchronous", mode)?;
            self.synced = wanted;
        }
        Ok(())
    }

    /// Keeps the log from growing while there is always something to do.
    fn bound_log(&mut self) {
        self.since_checkpoint = 0;
        // A passive checkpoint disturbs nobody.
        if self.checkpoint("PASSIVE").is_some_and(|pages| pages > LONG_LOG) {
            self.checkpoint("RESTART");
        }
    }

    /// Gives the number of pages in the log.
    fn checkpoint(&mut self, mode: &str) -> Option<i64> {
        let run = || -> rusqlite::Result<i64> {
            self.conn.busy_timeout(READERS_PATIENCE)?;
            self.conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(1))
        };
        let done = run();
        if let Err(error) = self.conn.busy_timeout(LOCK_PATIENCE) {
            tracing::warn!(%error, "the receiver's writer has no patience left");
        }
        done.inspect_err(|error| tracing::warn!(%error, "the log of the receiver's store could not be written back")).ok()
    }

    /// Fills an empty log with zeros, which are no header, and so still an empty log
    /// (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
    fn lay_out_log(&self) {
        let fill = || -> std::result::Result<(), Box<dyn std::error::Error>> {
            // The lock keeps other connections from writing to the log meanwhile.
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
            tracing::warn!(%error, "the log of the receiver's store could not be laid out");
        }
        roll_back(&self.conn);
    }
}

/// Runs a group in one SQLite transaction, each in a savepoint, and answers all once it is durable.
fn commit(conn: &Connection, group: Vec<Box<dyn Job>>) {
    let mut waiting = group.into_iter().peekable();
    // More than one round only when SQLite gave up the transaction in the middle: what was not run yet gets another.
    while waiting.peek().is_some() {
        let mut ran = Vec::with_capacity(waiting.len());
        let result = run_group(conn, &mut waiting, &mut ran).map_err(Cause::new);
        if let Err(error) = &result {
            tracing::warn!(%error, "a group of transactions could not be committed");
            roll_back(conn);
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
    execute("BEGIN IMMEDIATE")?;
    for mut job in waiting {
        let saved = execute("SAVEPOINT filesafety_job");
        let keep = saved.is_ok() && job.run(conn);
        ran.push(job);
        saved?;
        if conn.is_autocommit() {
            return Err(given_up());
        }
        if !keep {
            execute("ROLLBACK TO filesafety_job")?;
        }
        execute("RELEASE filesafety_job")?;
    }
    execute("COMMIT")
}

/// SQLite ends the whole transaction itself when the disk is full or fails; a handler must not.
fn given_up() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT);
    rusqlite::Error::SqliteFailure(
        code,
        Some("the transaction was ended in its middle: the disk is full or fails, or a handler ended it".into()),
    )
}

fn roll_back(conn: &Connection) {
    if !conn.is_autocommit()
        && let Err(error) = conn.execute_batch("ROLLBACK")
    {
        tracing::error!(%error, "the receiver's store could not roll back");
    }
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
        let conn = super::super::open_connection(&path).unwrap();
        conn.execute_batch("CREATE TABLE t (x TEXT)").unwrap();
        (folder, Writer::spawn(conn, path.with_extension("db-wal")).unwrap())
    }

    async fn count(writer: &Writer) -> i64 {
        writer.run(|conn| Ok(conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)).await.unwrap()
    }

    #[tokio::test]
    async fn a_failed_broken_or_refused_transaction_leaves_nothing_and_harms_no_other() {
        let (_folder, writer) = writer();
        let failed = writer.run(|conn| {
            insert("a".into())(conn)?;
            Err::<(), _>(StoreError::Corrupt("on purpose".into()))
        });
        let broken = writer.run(|conn| {
            insert("b".into())(conn)?;
            if conn.is_autocommit() { Ok(()) } else { panic!("on purpose") }
        });
        let refused = writer.run_if(insert("c".into()), |()| false);
        let (failed, broken, refused, kept) = tokio::join!(failed, broken, refused, writer.run(insert("d".into())));
        assert!(failed.is_err() && broken.is_err() && refused.is_ok() && kept.is_ok());
        assert_eq!(count(&writer).await, 1);
    }

    #[tokio::test]
    async fn a_transaction_that_ends_the_group_is_told_and_the_next_works() {
        let (_folder, writer) = writer();
        let ending = writer.run(|conn| Ok(conn.execute_batch("COMMIT")?));
        assert!(matches!(ending.await, Err(StoreError::Unavailable(_))));
        writer.run(insert("a".into())).await.unwrap();
        assert_eq!(count(&writer).await, 1);
    }

    #[tokio::test]
    async fn recovers_from_a_full_disk() {
        let (_folder, writer) = writer();
        let limit = |pages: u32| writer.run(move |conn| Ok(conn.pragma_update(None, "max_page_count", pages)?));
        limit(3).await.unwrap();
        let large = || writer.run(insert("x".repeat(100_000)));
        let (first, second) = tokio::join!(large(), large());
        assert!(matches!((first, second), (Err(StoreError::Unavailable(_)), Err(StoreError::Unavailable(_)))));
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
