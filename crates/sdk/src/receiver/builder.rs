//! Putting a receiver together: what is missing or weak is refused here, not when the first webhook comes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::sync::{Notify, Semaphore, watch};

use super::{
    Core, Receiver, Running,
    checks::{Checks, UrlToken},
    dispatch,
    handlers::{Handler, HandlerError, Route, Routes, TransactionHandler},
    metrics::Counters,
    scan_event::ScanEvent,
    store::{Admission, Store},
};
use crate::{
    event::Verdict,
    sign::{self, SigningSecret},
};

/// Memory for bodies under way, in KiB: 64 MiB.
const BODY_ROOM: usize = 64 * 1024;

/// Secrets at once: a rotation needs two.
const SECRETS: usize = 16;

const RETRIES: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 60 * 60),
];

/// Where a receiver learns what time it is.
pub(super) type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Puts a [`Receiver`] together.
#[must_use = "nothing is received before `build`"]
pub struct Builder {
    store: Arc<dyn Store>,
    secrets: Vec<SigningSecret>,
    token: Option<String>,
    tolerance: Duration,
    pending_set: bool,
    handlers: BTreeMap<Route, Handler>,
    settings: Settings,
}

/// How handling goes on.
pub(super) struct Settings {
    pub(super) clock: Clock,
    /// The waits after each failed try.
    pub(super) retries: Vec<Duration>,
    pub(super) handlers_at_once: usize,
    pub(super) handler_time: Duration,
    pub(super) body_time: Duration,
    pub(super) retention: Duration,
}

/// Why a receiver was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Weak, or it would have to be escaped in a URL.
    #[error("the URL token must have 16 to 256 of the characters A-Z a-z 0-9 - . _ ~")]
    BadToken,
    /// Each costs time for every webhook.
    #[error("{0} signing secrets; a receiver takes at most {SECRETS}")]
    TooManySecrets(usize),
    /// An event of this verdict would be acknowledged and dropped.
    #[error("no handler for {}; add one, or `otherwise`", list(.0))]
    NoHandler(Vec<Verdict>),
    /// Its commits would not be those of the marks.
    #[error("the transaction handler for {0:?} was made by another store than the receiver's")]
    ForeignTransaction(Route),
    /// Handlers run as Tokio tasks.
    #[error("a receiver is built inside a Tokio runtime")]
    NoRuntime,
    /// Nothing would ever be handled.
    #[error("{0} must be more than zero")]
    Zero(&'static str),
}

impl Builder {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        let settings = Settings {
            clock: Arc::new(SystemTime::now),
            retries: RETRIES.to_vec(),
            handlers_at_once: 16,
            handler_time: Duration::from_secs(60),
            body_time: Duration::from_secs(10),
            retention: Duration::from_secs(90 * 24 * 60 * 60),
        };
        Self {
            store,
            secrets: Vec::new(),
            token: None,
            tolerance: sign::TOLERANCE,
            pending_set: false,
            handlers: BTreeMap::new(),
            settings,
        }
    }

    /// Demands a signature made with this secret, or one of those given before: several are for rotation.
    pub fn secret(mut self, secret: SigningSecret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Demands `?token=` in the URL: 16 to 256 of the characters that need no escaping there. Not a substitute for a signature.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Takes events only of scans in the pending set, also where signatures are demanded. Without a secret that is always so.
    pub fn pending_set(mut self) -> Self {
        self.pending_set = true;
        self
    }

    /// The handler of a verdict, a context, or all else; the last one given counts. It gets each event at least once: before its mark is
    /// on the disk, a crash repeats it.
    pub fn on<F, Fut>(mut self, route: impl Into<Route>, handler: F) -> Self
    where
        F: Fn(Arc<ScanEvent>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.handlers.insert(route.into(), Handler::before_mark(handler));
        self
    }

    /// As [`Builder::on`], with a handler that commits together with the mark: each event has its effect exactly once.
    pub fn on_in_transaction(mut self, route: impl Into<Route>, handler: TransactionHandler) -> Self {
        self.handlers.insert(route.into(), Handler::WithMark(handler));
        self
    }

    /// The handler of `clean`: the file may be kept.
    pub fn on_clean<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Arc<ScanEvent>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.on(Verdict::Clean, handler)
    }

    /// The handler of `infected`: malware, or content that could not be examined.
    pub fn on_infected<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Arc<ScanEvent>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.on(Verdict::Infected, handler)
    }

    /// The handler of `nsfw`.
    pub fn on_nsfw<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Arc<ScanEvent>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.on(Verdict::Nsfw, handler)
    }

    /// The handler of `mixed`: infected and nsfw.
    pub fn on_mixed<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Arc<ScanEvent>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.on(Verdict::Mixed, handler)
    }

    /// The handler of `failed`: there is no judgement. [`ScanEvent::retryable`] says whether submitting again may help.
    pub fn on_failed<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Arc<ScanEvent>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.on(Verdict::Failed, handler)
    }

    /// The handler of events whose `metadata.context` is this text, whatever the verdict.
    pub fn on_context<F, Fut>(self, context: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Arc<ScanEvent>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.on(Route::Context(context.into()), handler)
    }

    /// The handler of every event that no other gets.
    pub fn otherwise<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Arc<ScanEvent>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.on(Route::Otherwise, handler)
    }

    /// The waits after each failed try; when they are used up the event becomes a dead letter. By default 1 s, 10 s, 1 min, 5 min,
    /// 30 min, 2 h.
    pub fn retries(mut self, waits: impl IntoIterator<Item = Duration>) -> Self {
        self.settings.retries = waits.into_iter().collect();
        self
    }

    /// Handlers that run at the same time, 16 by default.
    pub fn handlers_at_once(mut self, most: usize) -> Self {
        self.settings.handlers_at_once = most;
        self
    }

    /// A handler that takes longer than this (60 s by default) is dropped, and its event tried again.
    pub fn handler_time(mut self, longest: Duration) -> Self {
        self.settings.handler_time = longest;
        self
    }

    /// A body that takes longer than this (10 s by default) is refused.
    pub fn body_time(mut self, longest: Duration) -> Self {
        self.settings.body_time = longest;
        self
    }

    /// How long scans stay in the pending set after they were added or, later, handled; 90 days by default.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.settings.retention = retention;
        self
    }

    /// How far the timestamp of a signature may lie from now; 5 min by default.
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Where the receiver learns what time it is; for tests.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.settings.clock = Arc::new(now);
        self
    }

    /// Starts the receiver: events that wait in the store are handled from now on.
    pub fn build(self) -> Result<Receiver, BuildError> {
        let token = self.token.as_deref().map(|token| UrlToken::new(token).ok_or(BuildError::BadToken)).transpose()?;
        if self.secrets.len() > SECRETS {
            return Err(BuildError::TooManySecrets(self.secrets.len()));
        }
        let routes = Routes { handlers: self.handlers };
        let missing = routes.missing();
        if !missing.is_empty() {
            return Err(BuildError::NoHandler(missing));
        }
        for (route, handler) in &routes.handlers {
            if let Handler::WithMark(handler) = handler
                && handler.store != *self.store.id()
            {
                return Err(BuildError::ForeignTransaction(route.clone()));
            }
        }
        if self.settings.handlers_at_once == 0 {
            return Err(BuildError::Zero("handlers_at_once"));
        }
        if self.settings.handler_time.is_zero() {
            return Err(BuildError::Zero("handler_time"));
        }
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        // Without a signature, knowing an id that was submitted is all that tells a true webhook from a forged one.
        let admission = if self.pending_set || self.secrets.is_empty() { Admission::PendingScans } else { Admission::AnyScan };
        let core = Arc::new(Core {
            store: self.store,
            checks: Checks { token, secrets: self.secrets, tolerance: self.tolerance },
            admission,
            routes,
            settings: self.settings,
            counters: Counters::default(),
            arrived: Notify::new(),
            body_room: Semaphore::new(BODY_ROOM),
        });
        let (stop, stopping) = watch::channel(false);
        let dispatcher = runtime.spawn(dispatch::run(Arc::clone(&core), stopping));
        Ok(Receiver { running: Arc::new(Running { core, stop, dispatcher: Mutex::new(Some(dispatcher)) }) })
    }
}

fn list(verdicts: &[Verdict]) -> String {
    verdicts.iter().map(|verdict| verdict.as_str()).collect::<Vec<_>>().join(", ")
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("routes", &self.handlers.keys()).finish_non_exhaustive()
    }
}
