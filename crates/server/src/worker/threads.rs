//! The threads that have files scanned, each by a sandbox.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError, mpsc},
};

use filesafety_engine::Blueprint;
use filesafety_model::{Password, Report, ScanTypes};
use filesafety_sandbox::{Fault, FileContent, Job as SandboxJob, Layers, Pool, Scanned as SandboxScanned, StartError};
use tokio::sync::{oneshot, watch};

use super::memory::Reservation;

/// One file to judge.
pub(crate) struct Job {
    pub(crate) content: FileContent,
    pub(crate) name: Option<String>,
    pub(crate) types: ScanTypes,
    pub(crate) passwords: Vec<Password>,
    pub(crate) memory: Reservation,
}

/// A report, and which engine made it.
pub(crate) struct Scanned {
    pub(crate) report: Report,
    pub(crate) blueprint: Arc<Blueprint>,
}

/// The engines in force, and the threads that scan with them.
pub(crate) struct ScanThreads {
    pool: Arc<Pool>,
    jobs: mpsc::Sender<Order>,
    replaced: watch::Sender<u64>,
}

/// A job and where its outcome goes.
type Order = (Job, oneshot::Sender<Result<Scanned, Fault>>);
type Jobs = Mutex<mpsc::Receiver<Order>>;

impl ScanThreads {
    pub(crate) fn start(pool: Pool, threads: NonZeroUsize) -> std::io::Result<Self> {
        let pool = Arc::new(pool);
        let (sender, receiver) = mpsc::channel();
        let receiver: Arc<Jobs> = Arc::new(Mutex::new(receiver));
        for index in 0..threads.get() {
            let (pool, receiver) = (pool.clone(), receiver.clone());
            std::thread::Builder::new().name(format!("scan-{index}")).spawn(move || run(&pool, &receiver))?;
        }
        Ok(Self { pool, jobs: sender, replaced: watch::Sender::new(0) })
    }

    /// What the next scan is made with.
    pub(crate) fn blueprint(&self) -> Arc<Blueprint> {
        self.pool.blueprint()
    }

    /// What the processes that scan gave up.
    pub(crate) fn layers(&self) -> Layers {
        self.pool.layers()
    }

    /// Scans that run keep the engines they began with. Waits until others are ready.
    pub(crate) async fn replace(&self, blueprint: Blueprint) -> Result<(), StartError> {
        let pool = self.pool.clone();
        let replaced = tokio::task::spawn_blocking(move || pool.replace(Arc::new(blueprint))).await;
        replaced.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))?;
        self.replaced.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    /// Tells when other engines are in force. The value counts up.
    pub(crate) fn replaced(&self) -> watch::Receiver<u64> {
        self.replaced.subscribe()
    }

    /// Runs `job` on the next free thread.
    pub(crate) async fn scan(&self, job: Job) -> Result<Scanned, Fault> {
        let ended = || Fault::Unavailable("the scan threads have ended".to_owned());
        let (sender, receiver) = oneshot::channel();
        self.jobs.send((job, sender)).map_err(|_| ended())?;
        receiver.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// One thread's life: it ends with the sender of its jobs.
fn run(pool: &Pool, jobs: &Jobs) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((job, answer)) = next else { return };
        let file = SandboxJob {
            content: &job.content,
            name: job.name.as_deref(),
            types: job.types,
            passwords: &job.passwords,
            room: job.memory.room(),
        };
        let scanned = pool.scan(&file, &job.memory).map(|SandboxScanned { report, blueprint }| Scanned { report, blueprint });
        drop(job); // Its memory is free before anybody hears of the outcome.
        let _ = answer.send(scanned);
    }
}
