//! What is done with an event, and which handler does it.

use std::{collections::BTreeMap, error::Error, fmt, pin::Pin, sync::Arc, time::SystemTime};

use super::{
    scan_event::ScanEvent,
    store::{Claim, Settled, StoreId},
};
use crate::event::Verdict;

/// What a handler does, later.
pub type HandlerFuture<T> = Pin<Box<dyn Future<Output = Result<T, HandlerError>> + Send>>;

/// Why a handler failed, and whether another try may end otherwise. Made by `?` from every error: that one is tried again.
#[derive(Debug)]
pub struct HandlerError {
    pub(super) cause: Box<dyn Error + Send + Sync>,
    pub(super) remedy: Remedy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    TryAgain,
    GiveUp,
}

/// Which events a handler gets. `metadata.context` goes before the verdict, and both before [`Route::Otherwise`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// Those whose `metadata.context` is this text.
    Context(String),
    /// Those of this verdict.
    Verdict(Verdict),
    /// Those that no other handler gets.
    Otherwise,
}

/// A handler whose effect and the event's mark are one commit: see [`SqliteStore::in_transaction`](super::sqlite::SqliteStore::in_transaction).
#[derive(Clone)]
pub struct TransactionHandler {
    pub(super) store: StoreId,
    pub(super) run: TransactionRun,
}

type TransactionRun = Arc<dyn Fn(Arc<ScanEvent>, Claim, SystemTime) -> HandlerFuture<Settled> + Send + Sync>;

#[derive(Clone)]
pub(super) enum Handler {
    /// Marked as handled after it ended well.
    BeforeMark(Arc<dyn Fn(Arc<ScanEvent>) -> HandlerFuture<()> + Send + Sync>),
    /// Marks by itself.
    WithMark(TransactionHandler),
}

/// Every event has a handler here: the builder sees to that.
pub(super) struct Routes {
    pub(super) handlers: BTreeMap<Route, Handler>,
}

impl HandlerError {
    /// Another try may help: the event waits and is handled again.
    pub fn retry(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: cause.into(), remedy: Remedy::TryAgain }
    }

    /// No other try can help: the event becomes a dead letter at once.
    pub fn give_up(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: cause.into(), remedy: Remedy::GiveUp }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

impl fmt::Display for HandlerError {
    /// The cause and what caused it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        let mut below = self.cause.source();
        while let Some(cause) = below {
            write!(f, ": {cause}")?;
            below = cause.source();
        }
        Ok(())
    }
}

impl From<Verdict> for Route {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

impl TransactionHandler {
    /// For implementations of [`Store`](super::store::Store): `run` carries out the effect and settles the claim in one commit.
    pub fn new(store: StoreId, run: impl Fn(Arc<ScanEvent>, Claim, SystemTime) -> HandlerFuture<Settled> + Send + Sync + 'static) -> Self {
        Self { store, run: Arc::new(run) }
    }
}

impl Handler {
    pub(super) fn before_mark<F, Fut>(handler: F) -> Self
    where
        F: Fn(Arc<ScanEvent>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        Self::BeforeMark(Arc::new(move |event| Box::pin(handler(event))))
    }
}

impl Routes {
    pub(super) fn handler_of(&self, event: &ScanEvent) -> Option<&Handler> {
        let by_context = || self.handlers.get(&Route::Context(event.context()?));
        by_context().or_else(|| self.handlers.get(&Route::Verdict(event.verdict))).or_else(|| self.handlers.get(&Route::Otherwise))
    }

    /// The verdicts that would have no handler.
    pub(super) fn missing(&self) -> Vec<Verdict> {
        if self.handlers.contains_key(&Route::Otherwise) {
            return Vec::new();
        }
        Verdict::ALL.into_iter().filter(|verdict| !self.handlers.contains_key(&Route::Verdict(*verdict))).collect()
    }
}

impl fmt::Debug for TransactionHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionHandler").finish_non_exhaustive()
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.handlers.keys()).finish()
    }
}
