//! As many sandboxes as files are scanned at the same time, all of them with the engines in force.

use std::{
    ffi::OsString,
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use filesafety_engine::{Blueprint, Memory};
use filesafety_model::{Report, Seen};

use crate::{
    lockdown::{Confinement, Layers},
    sandbox::{Ended, Fault, Job, Sandbox, Starting},
};

/// What is started as a sandbox: it has to call [`crate::run_child`] at once.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    pub arguments: Vec<OsString>,
    /// What lists of processes show instead of the path.
    pub shown: Option<OsString>,
}

/// How a pool works.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    pub program: Program,
    /// Sandboxes there are at most.
    pub size: usize,
    pub warmth: Warmth,
    pub confinement: Confinement,
}

/// When sandboxes are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warmth {
    /// All of them beforehand.
    All,
    /// Each when it is first needed.
    AsNeeded,
}

/// What keeps a sandbox from starting.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// The system does not start the process: too many there are, or the program is gone.
    #[error("the process does not start: {0}")]
    Spawn(Arc<io::Error>),
    #[error("{0}")]
    Unfit(String),
    /// Layers are missing, and all are required.
    #[error("{}", unconfined(.0))]
    Unconfined(Layers),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Spawn(Arc::new(error))
    }
}

/// A report, and what it was made with.
pub struct Scanned {
    pub report: Report,
    pub blueprint: Arc<Blueprint>,
}

/// Sandboxes, started and ended by a thread of the pool's own. Ends them with the value.
pub struct Pool {
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
}

struct Shared {
    config: PoolConfig,
    state: Mutex<State>,
    /// For who waits for a sandbox.
    freed: Condvar,
    /// For the keeper.
    needed: Condvar,
}

struct State {
    blueprint: Arc<Blueprint>,
    layers: Layers,
    idle: Vec<Sandbox>,
    /// Those at work, of the blueprint in force.
    busy: usize,
    /// How many there are to be.
    wanted: usize,
    replacement: Option<Replacement>,
    /// Why the last start failed; `None` once one succeeded.
    trouble: Option<StartError>,
    closing: bool,
}

/// A blueprint that is to be in force, and who wants to know whether it is.
struct Replacement {
    blueprint: Arc<Blueprint>,
    told: mpsc::Sender<Result<(), StartError>>,
}

/// How often the keeper looks whether a sandbox ended by itself.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After a start that failed; doubled each time.
const WAIT_FIRST: Duration = Duration::from_millis(100);
const WAIT_AT_MOST: Duration = Duration::from_secs(5);
/// Sandboxes that were gone before they had the file, for one scan.
const GONE_AT_MOST: u32 = 5;

/// What a sandbox can give up on this system.
///
/// # Errors
/// None can be started as `confinement` asks for it.
pub fn probe(program: &Program, confinement: Confinement) -> Result<Layers, StartError> {
    Ok(Starting::new(program, None, confinement)?.ready()?.layers().clone())
}

impl Pool {
    /// Starts the first sandboxes, and waits until they are ready.
    ///
    /// # Errors
    /// None can be started as `config` asks for it.
    pub fn start(config: PoolConfig, blueprint: Arc<Blueprint>) -> Result<Self, StartError> {
        let wanted = match config.warmth {
            Warmth::All => config.size,
            Warmth::AsNeeded => 1,
        };
        let (told, started) = mpsc::channel();
        let state = State {
            blueprint: blueprint.clone(),
            layers: Layers::default(),
            idle: Vec::new(),
            busy: 0,
            wanted: wanted.max(1),
            replacement: Some(Replacement { blueprint, told }),
            trouble: None,
            closing: false,
        };
        let shared = Arc::new(Shared { config, state: Mutex::new(state), freed: Condvar::new(), needed: Condvar::new() });
        let keeps = shared.clone();
        let keeper = std::thread::Builder::new().name("sandboxes".into()).spawn(move || Keeper::new(keeps).run())?;
        let pool = Self { shared, keeper: Some(keeper) };
        wait_for(&started)?;
        Ok(pool)
    }

    /// Puts another blueprint in force: once its sandboxes are ready, new scans go to them, and those of the former end after what they
    /// scan.
    ///
    /// # Errors
    /// They do not start; the former blueprint stays in force.
    pub fn replace(&self, blueprint: Arc<Blueprint>) -> Result<(), StartError> {
        let (told, started) = mpsc::channel();
        self.shared.state().replacement = Some(Replacement { blueprint, told });
        self.shared.needed.notify_one();
        wait_for(&started)
    }

    /// What new scans are made with.
    pub fn blueprint(&self) -> Arc<Blueprint> {
        self.shared.state().blueprint.clone()
    }

    /// What sandboxes gave up, and what they could not.
    pub fn layers(&self) -> Layers {
        self.shared.state().layers.clone()
    }

    /// Scans one file in a sandbox, and waits for one that is free.
    ///
    /// # Errors
    /// There is no report: by what helps.
    pub fn scan(&self, job: &Job<'_>, memory: &dyn Memory) -> Result<Scanned, Fault> {
        let mut gone = 0;
        loop {
            let mut sandbox = self.shared.take()?;
            let mut seen = Seen::default();
            let ended = sandbox.scan(job, memory, &mut seen);
            let blueprint = sandbox.blueprint().cloned();
            match &ended {
                Ended::Scanned(_) | Ended::Short => self.shared.put_back(sandbox),
                Ended::Gone | Ended::Overtime | Ended::Died(_) => self.shared.lose(sandbox),
            }
            return match (ended, blueprint) {
                (Ended::Scanned(report), Some(blueprint)) => Ok(Scanned { report: *report, blueprint }),
                (Ended::Short, _) => Err(Fault::MemoryShort),
                (Ended::Overtime, _) => Err(Fault::Overtime { seen }),
                (Ended::Died(how), _) => Err(Fault::Died { how, seen }),
                (Ended::Gone, Some(_)) if gone < GONE_AT_MOST => {
                    gone += 1;
                    continue;
                }
                (Ended::Gone, _) | (Ended::Scanned(_), None) => Err(Fault::Unavailable("sandboxes end before they have a file".to_owned())),
            };
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state().closing = true;
        self.shared.needed.notify_one();
        self.shared.freed.notify_all();
        if let Some(keeper) = self.keeper.take() {
            // A keeper that panicked has said so.
            let _ = keeper.join();
        }
    }
}

fn wait_for(started: &mpsc::Receiver<Result<(), StartError>>) -> Result<(), StartError> {
    started.recv().unwrap_or_else(|_| Err(StartError::Unfit("the pool is closing".to_owned())))
}

impl State {
    /// Whether `sandbox` scans with what is in force, and so counts.
    fn is_in_force(&self, sandbox: &Sandbox) -> bool {
        sandbox.blueprint().is_some_and(|blueprint| Arc::ptr_eq(blueprint, &self.blueprint))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Result<Sandbox, Fault> {
        let mut state = self.state();
        loop {
            if state.closing {
                return Err(Fault::Unavailable("the pool is closing".to_owned()));
            }
            if let Some(sandbox) = state.idle.pop() {
                state.busy += 1;
                return Ok(sandbox);
            }
            if let Some(trouble) = state.trouble.as_ref().filter(|_| state.busy == 0) {
                return Err(Fault::Unavailable(trouble.to_string()));
            }
            if state.busy >= state.wanted && state.wanted < self.config.size {
                state.wanted += 1;
                self.needed.notify_one();
            }
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put_back(&self, mut sandbox: Sandbox) {
        if sandbox.is_worn() {
            return self.lose(sandbox);
        }
        let mut state = self.state();
        // One of a former blueprint has done its work.
        if state.is_in_force(&sandbox) {
            state.busy -= 1;
            state.idle.push(sandbox);
            drop(state);
            self.freed.notify_one();
        } else {
            drop(state);
            drop(sandbox);
        }
    }

    /// Ends a sandbox; another takes its place.
    fn lose(&self, sandbox: Sandbox) {
        {
            let mut state = self.state();
            if state.is_in_force(&sandbox) {
                state.busy -= 1;
            }
        }
        self.needed.notify_one();
        drop(sandbox);
    }
}

/// The thread that starts sandboxes. They end with the thread that started them, so it lives as long as the pool.
struct Keeper {
    shared: Arc<Shared>,
    wait: Duration,
    not_before: Option<Instant>,
}

impl Keeper {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, wait: WAIT_FIRST, not_before: None }
    }

    fn run(mut self) {
        loop {
            let mut state = self.shared.state();
            if state.closing {
                let idle = std::mem::take(&mut state.idle);
                drop(state);
                drop(idle);
                return;
            }
            if let Some(replacement) = state.replacement.take() {
                let count = state.wanted;
                drop(state);
                self.replace(replacement, count);
                continue;
            }
            let gone: Vec<_> = state.idle.extract_if(.., Sandbox::is_gone).collect();
            let missing = state.wanted.saturating_sub(state.idle.len() + state.busy);
            let may = self.not_before.is_none_or(|instant| Instant::now() >= instant);
            if missing > 0 && may {
                let blueprint = state.blueprint.clone();
                drop(state);
                self.fill(&blueprint, missing);
                continue;
            }
            let wait = if self.not_before.is_some() { self.wait.min(LOOK_EVERY) } else { LOOK_EVERY };
            let waited = self.shared.needed.wait_timeout(state, wait);
            drop(waited);
            drop(gone);
        }
    }

    fn replace(&mut self, replacement: Replacement, count: usize) {
        let Replacement { blueprint, told } = replacement;
        let (started, trouble) = self.start(&blueprint, count);
        let outcome = match trouble {
            None => {
                let mut state = self.shared.state();
                let layers = started.first().map(|sandbox| sandbox.layers().clone()).unwrap_or_default();
                let former = std::mem::replace(&mut state.idle, started);
                (state.blueprint, state.busy, state.layers, state.trouble) = (blueprint, 0, layers, None);
                drop(state);
                self.shared.freed.notify_all();
                drop(former);
                Ok(())
            }
            Some(trouble) => Err(trouble),
        };
        // Whoever asked may be gone.
        let _ = told.send(outcome);
    }

    fn fill(&mut self, blueprint: &Arc<Blueprint>, missing: usize) {
        let (started, trouble) = self.start(blueprint, missing);
        let mut state = self.shared.state();
        match &trouble {
            None => (self.wait, self.not_before) = (WAIT_FIRST, None),
            Some(error) => {
                tracing::error!(%error, "a sandbox does not start; trying again");
                self.not_before = Some(Instant::now() + self.wait);
                self.wait = (self.wait * 2).min(WAIT_AT_MOST);
            }
        }
        state.trouble = trouble;
        if let Some(sandbox) = started.last() {
            state.layers = sandbox.layers().clone();
        }
        state.idle.extend(started);
        drop(state);
        self.shared.freed.notify_all();
    }

    /// As many as can be started of `count`, and why the others cannot. They load at the same time.
    fn start(&self, blueprint: &Arc<Blueprint>, count: usize) -> (Vec<Sandbox>, Option<StartError>) {
        let config = &self.shared.config;
        let starting: Vec<_> = (0..count).map(|_| Starting::new(&config.program, Some(blueprint.clone()), config.confinement)).collect();
        let (mut started, mut trouble) = (Vec::new(), None);
        for one in starting {
            match one.map_err(StartError::from).and_then(Starting::ready) {
                Ok(sandbox) => started.push(sandbox),
                Err(error) => trouble = Some(error),
            }
        }
        (started, trouble)
    }
}

fn unconfined(layers: &Layers) -> String {
    let missing = layers.missing.iter().map(|(layer, reason)| format!("{layer} is not in force ({reason}): {}", layer.remedy()));
    missing.collect::<Vec<_>>().join("; ")
}
