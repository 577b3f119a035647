//! A pool of threads that read, each with a connection of its own; they never wait for the writer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use crate::{Result, StoreError};

const THREADS: usize = 4;

/// Reads that may wait; callers beyond wait for room.
const WAITING: usize = 4096;

/// A handle to the threads.
#[derive(Debug)]
pub(crate) struct Readers {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    room: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

type Job = Box<dyn FnOnce(&Connection) + Send>;

impl Readers {
    pub(crate) fn spawn(path: &Path) -> Result<Self> {
        let (jobs, inbox) = mpsc::channel();
        let inbox = Arc::new(Mutex::new(inbox));
        let mut threads = Vec::new();
        for number in 0..THREADS {
            let (conn, inbox) = (super::connect_to_read(path)?, Arc::clone(&inbox));
            let thread = thread::Builder::new().name(format!("store-reader-{number}")).spawn(move || serve(&conn, &inbox));
            threads.push(thread.map_err(StoreError::unavailable)?);
        }
        Ok(Self { jobs: Mutex::new(Some(jobs)), room: Arc::new(Semaphore::new(WAITING)), threads: Mutex::new(threads) })
    }

    /// Runs `job` on one snapshot of the store.
    pub(crate) async fn run<T: Send + 'static>(&self, job: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        let _room = self.room.acquire().await.map_err(StoreError::unavailable)?;
        let (reply, answer) = oneshot::channel();
        let read = Box::new(move |conn: &Connection| {
            let result = catch_unwind(AssertUnwindSafe(|| on_snapshot(conn, job)));
            // A caller that went away wants no answer.
            let _ = reply.send(result.unwrap_or_else(|_| Err(StoreError::Corrupt("a read broke off".into()))));
        });
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        jobs.ok_or_else(closed)?.send(read).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    pub(crate) fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a reader of the store broke off");
            }
        }
    }
}

fn closed() -> StoreError {
    StoreError::unavailable("the store is closed")
}

fn serve(conn: &Connection, inbox: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(conn),
            Err(mpsc::RecvError) => return,
        }
    }
}

fn on_snapshot<T>(conn: &Connection, job: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    let transaction = conn.unchecked_transaction()?;
    let result = job(&transaction);
    transaction.finish()?;
    result
}
