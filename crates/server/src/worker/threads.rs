//! The threads that scan, each with scanners of its own.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError, RwLock, mpsc},
};

use bytes::Bytes;
use filesafety_engine::{Engine, Input, MemoryShort};
use filesafety_model::{Password, Report, ScanTypes};
use tokio::sync::{oneshot, watch};

use super::memory::Reservation;

/// One file to judge.
pub(crate) struct Job {
    pub(crate) content: Bytes,
    pub(crate) name: Option<String>,
    pub(crate) types: ScanTypes,
    pub(crate) passwords: Vec<Password>,
    pub(crate) memory: Reservation,
}

/// A report, and which engine made it.
pub(crate) struct Scanned {
    pub(crate) report: Report,
    /// [`Engine::fingerprint`].
    pub(crate) engine: Arc<str>,
}

/// Why a job came back without a report.
#[derive(Debug)]
pub(crate) enum JobFault {
    /// Memory was short; it may run again with the whole.
    MemoryShort,
    /// The thread ended: a defect in an engine. Counts as no answer.
    Died,
}

/// The engine in force, and the threads that scan with it.
pub(crate) struct ScanThreads {
    engine: Arc<RwLock<Arc<Engine>>>,
    jobs: mpsc::Sender<Order>,
    replaced: watch::Sender<u64>,
}

/// A job and where its outcome goes.
type Order = (Job, oneshot::Sender<Result<Scanned, JobFault>>);
type Jobs = Mutex<mpsc::Receiver<Order>>;

impl ScanThreads {
    pub(crate) fn start(engine: Engine, threads: NonZeroUsize) -> std::io::Result<Self> {
        let engine = Arc::new(RwLock::new(Arc::new(engine)));
        let (sender, receiver) = mpsc::channel();
        let receiver: Arc<Jobs> = Arc::new(Mutex::new(receiver));
        for index in 0..threads.get() {
            let (engine, receiver) = (engine.clone(), receiver.clone());
            std::thread::Builder::new().name(format!("scan-{index}")).stack_size(16 << 20).spawn(move || run(&engine, &receiver))?;
        }
        Ok(Self { engine, jobs: sender, replaced: watch::Sender::new(0) })
    }

    /// The engine that the next scan uses.
    pub(crate) fn engine(&self) -> Arc<Engine> {
        self.engine.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Scans that run keep the engine they began with.
    pub(crate) fn replace_engine(&self, engine: Engine) {
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(engine);
        self.replaced.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Tells when another engine is in force. The value counts up.
    pub(crate) fn replaced(&self) -> watch::Receiver<u64> {
        self.replaced.subscribe()
    }

    /// Runs `job` on the next free thread.
    pub(crate) async fn scan(&self, job: Job) -> Result<Scanned, JobFault> {
        let (sender, receiver) = oneshot::channel();
        self.jobs.send((job, sender)).map_err(|_| JobFault::Died)?;
        receiver.await.unwrap_or(Err(JobFault::Died))
    }
}

/// One thread's life: a worker for the engine in force, renewed when the engine is replaced or a scan panicked.
fn run(current: &RwLock<Arc<Engine>>, jobs: &Jobs) {
    let mut waiting = None;
    loop {
        let engine = current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut worker = engine.worker();
        let fingerprint: Arc<str> = engine.fingerprint().into();
        loop {
            let next = waiting.take().or_else(|| jobs.lock().unwrap_or_else(PoisonError::into_inner).recv().ok());
            let Some((job, answer)) = next else { return };
            if !Arc::ptr_eq(&engine, &current.read().unwrap_or_else(PoisonError::into_inner)) {
                waiting = Some((job, answer));
                break;
            }
            // A panic is a defect of ours or of a parser; it must cost one scan, not the thread.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scan(&mut worker, &job)));
            let died = outcome.is_err();
            drop(job); // Its memory is free before anybody hears of the outcome.
            let scanned = outcome.unwrap_or(Err(JobFault::Died)).map(|report| Scanned { report, engine: fingerprint.clone() });
            let _ = answer.send(scanned);
            if died {
                break;
            }
        }
    }
}

fn scan(worker: &mut filesafety_engine::Worker<'_>, job: &Job) -> Result<Report, JobFault> {
    let input = Input { content: &job.content, name: job.name.as_deref(), types: job.types, passwords: &job.passwords };
    worker.scan(&input, &job.memory).map_err(|MemoryShort| JobFault::MemoryShort)
}
