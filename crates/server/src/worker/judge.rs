//! From bytes in memory to a judgement: turns, memory, and a second try where it helps.

use std::{num::NonZeroUsize, time::Duration};

use bytes::Bytes;
use filesafety_engine::Engine;
use filesafety_model::{
    Ask, Coverage, EngineOutcome, EngineReport, FailureCode, Judgement, Pictures, Policy, Reason, Report, ScanTypes, Unexamined, decide,
};
use tokio::time::Instant;

use super::{
    memory::{Reservation, ScanMemory},
    threads::{Job, JobFault, ScanThreads},
    turns::{Lane, Turn, Turns},
};

/// The engines with everything that rations them.
pub(crate) struct Judge {
    pub(crate) threads: ScanThreads,
    pub(crate) turns: Turns,
    pub(crate) memory: ScanMemory,
    pub(crate) policy: Policy,
}

/// A file that can be judged.
#[derive(Clone)]
pub(crate) struct FileInHand {
    pub(crate) content: Bytes,
    pub(crate) name: Option<String>,
    pub(crate) types: ScanTypes,
    pub(crate) lane: Lane,
}

/// How long an engine that does not answer is asked again.
pub(crate) const PATIENCE_SYNC: Duration = Duration::from_secs(20);
pub(crate) const PATIENCE_ASYNC: Duration = Duration::from_secs(60);

impl Judge {
    pub(crate) fn new(engine: Engine, threads: NonZeroUsize, memory: u64, policy: Policy) -> std::io::Result<Self> {
        Ok(Self {
            threads: ScanThreads::start(engine, threads)?,
            turns: Turns::new(threads.get()),
            memory: ScanMemory::new(memory),
            policy,
        })
    }

    /// Everything besides the bytes and the types that a judgement depends on.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{};{}", self.policy, self.threads.engine().fingerprint())
    }

    /// Judges `file` in the turn it has; an engine that does not answer is asked again for `patience`.
    pub(crate) async fn judge(&self, file: &FileInHand, memory: Reservation, turn: Turn, patience: Duration) -> Judgement {
        let give_up = Instant::now() + patience;
        let mut wait = Duration::from_millis(500);
        let (mut memory, mut turn) = (Some(memory), Some(turn));
        loop {
            let held = match memory.take() {
                Some(memory) => memory,
                None => self.memory.reserve(file.content.len() as u64).await,
            };
            let held_turn = match turn.take() {
                Some(turn) => turn,
                None => self.turns.next(file.lane).await,
            };
            let judgement = self.judge_once(file, held, held_turn).await;
            let silent = judgement.failure.as_ref().is_some_and(|failure| failure.code == FailureCode::EngineUnavailable);
            if !silent || Instant::now() + wait > give_up {
                return judgement;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(5));
        }
    }

    async fn judge_once(&self, file: &FileInHand, memory: Reservation, turn: Turn) -> Judgement {
        let mut deaths = 0;
        let mut next = Some((memory, turn));
        loop {
            let (memory, turn) = match next.take() {
                Some(held) => held,
                None => (self.memory.reserve_whole(file.content.len() as u64).await, self.turns.next(file.lane).await),
            };
            let job = Job { content: file.content.clone(), name: file.name.clone(), types: file.types, memory };
            let outcome = self.threads.scan(job).await;
            drop(turn);
            match outcome {
                Ok(report) => return decide(&self.policy, &self.ask(file.types), &report),
                Err(JobFault::MemoryShort) => {}
                Err(JobFault::Died) => {
                    deaths += 1;
                    tracing::error!(deaths, "a scan panicked");
                    if deaths > 1 {
                        return self.crashed(file.types);
                    }
                }
            }
        }
    }

    /// The judgement on a file that brings the engines down.
    pub(crate) fn crashed(&self, types: ScanTypes) -> Judgement {
        let ask = self.ask(types);
        let answered = |engine: &_| EngineReport { engine: *engine, outcome: EngineOutcome::Examined, detections: Vec::new() };
        let mut coverage = Coverage::default();
        coverage.add_unexamined(Unexamined::new("", Reason::Broken, "Crash"));
        let report = Report { engines: ask.required.iter().map(answered).collect(), coverage, pictures: Some(Pictures::default()) };
        decide(&self.policy, &ask, &report)
    }

    fn ask(&self, types: ScanTypes) -> Ask {
        Ask { types, required: self.threads.engine().required() }
    }
}
