//! From bytes in memory to a judgement: turns, memory, and a second try where it helps.

use std::{num::NonZeroUsize, time::Duration};

use filesafety_engine::name_class;
use filesafety_model::{Ask, FailureCode, Judgement, Policy, Reason, Report, ScanTypes, Seen, decide};
use filesafety_sandbox::{Fault, FileContent, Pool};
use filesafety_store::ArchivePassword;
use tokio::time::Instant;

use super::{
    memory::{Reservation, ScanMemory},
    threads::{Job, ScanThreads, Scanned},
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
    pub(crate) content: FileContent,
    pub(crate) name: Option<String>,
    pub(crate) types: ScanTypes,
    pub(crate) lane: Lane,
    pub(crate) password: Option<ArchivePassword>,
}

/// What a scan may take before it has a judgement.
pub(crate) struct Terms<'a> {
    /// Whether somebody waits for the answer at this moment.
    pub(crate) awaited: &'a (dyn Fn() -> bool + Sync),
    /// Whether the turn is kept between tries: nothing may run beside this scan.
    pub(crate) alone: bool,
}

impl Terms<'_> {
    /// How long an engine that does not answer is asked again.
    fn patience(&self) -> Duration {
        if (self.awaited)() { PATIENCE_AWAITED } else { PATIENCE }
    }
}

const PATIENCE_AWAITED: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(60);

/// A scan that ended so often without an outcome, while nothing ran beside it, is not tried again.
pub(crate) const CRASHES_AT_MOST: u32 = 3;

impl Judge {
    pub(crate) fn new(pool: Pool, threads: NonZeroUsize, memory: u64, policy: Policy) -> std::io::Result<Self> {
        Ok(Self { threads: ScanThreads::start(pool, threads)?, turns: Turns::new(threads.get()), memory: ScanMemory::new(memory), policy })
    }

    /// Everything besides the bytes that a judgement by the engine in force depends on.
    pub(crate) fn fingerprint(&self, types: ScanTypes, file_name: Option<&str>, password: Option<&ArchivePassword>) -> String {
        self.fingerprint_of(self.threads.blueprint().fingerprint(), types, file_name, password)
    }

    fn fingerprint_of(&self, engine: &str, types: ScanTypes, file_name: Option<&str>, password: Option<&ArchivePassword>) -> String {
        let name = file_name.map(name_class).unwrap_or_default();
        let mark = password.map(|given| format!(";{}", given.mark)).unwrap_or_default();
        format!("{};{name};{};{engine}{mark}", types.names().join(","), self.policy)
    }

    /// Judges `file` in the turn it has; an engine that does not answer is asked again for as long as `terms` allow.
    pub(crate) async fn judge(&self, file: &FileInHand, memory: Reservation, turn: Turn, terms: Terms<'_>) -> Judged {
        let start = Instant::now();
        let mut wait = Duration::from_millis(500);
        let (mut memory, mut turn) = (Some(memory), Some(turn));
        loop {
            let held = match memory.take() {
                Some(memory) => memory,
                None => self.memory.reserve(file.content.len() as u64).await,
            };
            let judged = self.judge_once(file, held, &mut turn, terms.alone).await;
            let failure = judged.judgement.failure.as_ref();
            let silent = failure.is_some_and(|failure| failure.code == FailureCode::EngineUnavailable);
            if !silent || start.elapsed() + wait > terms.patience() {
                return judged;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(5));
        }
    }

    /// Afterwards `turn` is empty, unless it `keeps` the turn, which then is all there are.
    async fn judge_once(&self, file: &FileInHand, memory: Reservation, turn: &mut Option<Turn>, keeps: bool) -> Judged {
        let (mut crashes, mut found) = (0, Seen::default());
        let mut memory = Some(memory);
        let mut alone = keeps;
        loop {
            let held = match memory.take() {
                Some(memory) => memory,
                None => self.memory.reserve_whole(file.content.len() as u64).await,
            };
            if turn.is_none() {
                *turn = Some(if alone { self.turns.alone(file.lane).await } else { self.turns.next(file.lane).await });
            }
            let passwords = file.password.iter().map(|given| given.password.clone()).collect();
            let job = Job { content: file.content.clone(), name: file.name.clone(), types: file.types, passwords, memory: held };
            let outcome = self.threads.scan(job).await;
            if !keeps {
                *turn = None;
            }
            match outcome {
                Ok(Scanned { report, blueprint }) => {
                    let judgement = decide(&self.policy, &self.ask(file.types), &report);
                    let fingerprint =
                        self.fingerprint_of(blueprint.fingerprint(), file.types, file.name.as_deref(), file.password.as_ref());
                    return Judged { judgement, fingerprint: Some(fingerprint) };
                }
                Err(Fault::MemoryShort) => {}
                // Its time is what the file takes: it would be used up again.
                Err(Fault::Overtime { seen }) => {
                    found.join(seen);
                    return self.cut_short(file.types, found, Reason::Limit, "Time");
                }
                Err(Fault::Unavailable(cause)) => {
                    tracing::error!(%cause, "a file cannot be scanned");
                    let message = "The engines could not be started; send the file again later.";
                    return Judgement::failed(FailureCode::EngineUnavailable, message).into();
                }
                Err(Fault::Died { how, seen }) => {
                    found.join(seen);
                    crashes += u32::from(alone);
                    tracing::error!(cause = %how, alone, "a scan ended without an outcome");
                    if crashes >= CRASHES_AT_MOST {
                        return self.cut_short(file.types, found, Reason::Broken, "Crash");
                    }
                    // Whoever ran beside it may have been the cause.
                    alone = true;
                }
            }
        }
    }

    /// The judgement on a file that brings the engines down.
    pub(crate) fn crashed(&self, types: ScanTypes) -> Judged {
        self.cut_short(types, Seen::default(), Reason::Broken, "Crash")
    }

    /// The judgement on a file that alone exceeds the memory of all scans.
    pub(crate) fn beyond_memory(&self, types: ScanTypes) -> Judged {
        self.cut_short(types, Seen::default(), Reason::Limit, "Memory")
    }

    /// The judgement on a file of which no more was `seen`.
    fn cut_short(&self, types: ScanTypes, seen: Seen, reason: Reason, detail: &str) -> Judged {
        let ask = self.ask(types);
        let report = Report::cut_short(&ask.required, seen, reason, detail);
        Judged { judgement: decide(&self.policy, &ask, &report), fingerprint: None }
    }

    fn ask(&self, types: ScanTypes) -> Ask {
        Ask { types, required: self.threads.blueprint().required().to_vec() }
    }
}

/// A judgement, and what it was made with.
pub(crate) struct Judged {
    pub(crate) judgement: Judgement,
    /// As [`Judge::fingerprint`] of the engine that really scanned; `None` where none did.
    pub(crate) fingerprint: Option<String>,
}

impl From<Judgement> for Judged {
    fn from(judgement: Judgement) -> Self {
        Self { judgement, fingerprint: None }
    }
}
