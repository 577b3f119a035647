//! What a receiver keeps: the marks of events it has seen, the inbox of those still to be handled, and the pending set.

pub mod memory;
#[cfg(feature = "receiver-postgres")]
pub mod postgres;
pub mod sqlite;

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use crate::event::Verdict;

/// The answer of a store, later.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why a store did not do what it was asked; by remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be read or written now: a full disk, a lost connection. Asking again may work.
    #[error("the receiver's store is unavailable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// Another process receives into it.
    #[error("{0} is in use by another receiver; one process at a time receives into an SQLite store")]
    InUse(String),
    /// What is there makes no sense to this version.
    #[error("the receiver's store cannot be used: {0}")]
    Corrupt(String),
}

/// The inbox, the marks and the pending set of one receiver. Each method is one transaction: when it answers `Ok`, its effect is durable
/// (a claim's at least as long as the machine runs), and without an answer there is none or all of it.
///
/// Time is always an argument. [`SqliteStore`](sqlite::SqliteStore) is the usual one; the others are held to the same tests.
pub trait Store: Send + Sync + 'static {
    /// Tells stores apart, so that a handler which commits with its mark is used with the store that it was made for.
    fn id(&self) -> &StoreId;

    /// Called once, before the first claim: frees what a predecessor had claimed that surely runs no more.
    fn recover(&self, now: SystemTime) -> StoreFuture<'_, ()>;

    /// Takes an event in. Looks for its mark first, then, if so asked, for its scan in the pending set.
    fn accept(&self, event: NewEvent, admission: Admission, now: SystemTime) -> StoreFuture<'_, Acceptance>;

    /// Hands out at most `most` events that are due, each counted as tried. Nobody else gets one of them before `until`.
    /// Of one scan at most one is out at a time, the lowest sequence first; what is older than the newest handled one is set aside.
    fn claim(&self, most: usize, now: SystemTime, until: SystemTime) -> StoreFuture<'_, Claims>;

    /// Writes down how the handling of a claimed event ended.
    fn settle(&self, claim: Claim, outcome: Outcome, now: SystemTime) -> StoreFuture<'_, Settled>;

    /// Adds scans to the pending set. One that is there stays as it is.
    fn add_pending(&self, scan_ids: Vec<String>, now: SystemTime) -> StoreFuture<'_, ()>;

    /// Whether a scan is in the pending set, done or not.
    fn is_pending(&self, scan_id: &str) -> StoreFuture<'_, bool>;

    /// Events whose handler kept failing, in the order of their keys, at most `most`, behind `after`.
    fn dead_letters(&self, after: Option<EventKey>, most: usize) -> StoreFuture<'_, Vec<DeadLetter>>;

    /// Makes a dead letter due now, with all its tries. `false`: there is no such dead letter.
    fn replay(&self, key: EventKey, now: SystemTime) -> StoreFuture<'_, bool>;

    /// How much there is of everything.
    fn counts(&self) -> StoreFuture<'_, Counts>;

    /// Forgets pending scans that were done, or else added, before `before`, and the bodies of events set aside before that.
    /// Marks stay. Gives the number of rows that went.
    fn sweep(&self, before: SystemTime) -> StoreFuture<'_, u64>;

    /// Waits for what is under way. Whatever is asked afterwards is [`StoreError::Unavailable`].
    fn close(&self) -> StoreFuture<'_, ()>;
}

/// Tells stores apart; clones of a handle have the same.
#[derive(Clone, Debug, Default)]
pub struct StoreId(Arc<u8>);

/// Which event: two deliveries with the same key are one event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    /// `scn_` and a ULID.
    pub scan_id: String,
    /// `scan.complete`, say.
    pub event: String,
    /// Counts the events of one scan, from 1.
    pub sequence: u32,
}

/// An event that passed the checks.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Which.
    pub key: EventKey,
    /// For lists; the body says it, too.
    pub verdict: Verdict,
    /// As they came.
    pub headers: SignedHeaders,
    /// As it came.
    pub body: Bytes,
}

/// The headers that belong to the signature, as they came; `None` where there was none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedHeaders {
    /// `webhook-id`
    pub id: Option<String>,
    /// `webhook-timestamp`
    pub timestamp: Option<String>,
    /// `webhook-signature`
    pub signature: Option<String>,
}

/// Whose events are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Those of any scan.
    AnyScan,
    /// Those of scans in the pending set.
    PendingScans,
}

/// What became of an event that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It is in the inbox and will be handled.
    Stored,
    /// It is stored, and older than the newest handled event of its scan: it will not be handled.
    Superseded,
    /// It was here before.
    Duplicate,
    /// Its scan is not in the pending set. Nothing was stored.
    UnknownScan,
}

/// What there was to hand out.
#[derive(Debug, Default)]
pub struct Claims {
    /// In the order in which they became due.
    pub events: Vec<Claimed>,
    /// How many were set aside as older than the newest handled one of their scan.
    pub superseded: u64,
    /// When the next becomes due; `None` when nothing waits.
    pub next_due: Option<SystemTime>,
}

/// An event that is this caller's to handle.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// What [`Store::settle`] wants back.
    pub claim: Claim,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// When it came in.
    pub received_at: SystemTime,
    /// As they came.
    pub headers: SignedHeaders,
    /// As it came.
    pub body: Bytes,
}

/// The right to settle one try of one event. `fence` differs for each claim: who lost the event cannot settle it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which event.
    pub key: EventKey,
    /// Which claim of it.
    pub fence: i64,
}

/// How handling ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; marked for good.
    Handled,
    /// Failed, to be tried again.
    Retry {
        /// When.
        at: SystemTime,
        /// Why it failed.
        error: String,
    },
    /// Failed for the last time.
    Dead {
        /// Why it failed.
        error: String,
    },
}

/// Whether an outcome was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It was.
    Written,
    /// The claim had run out and the event is someone else's by now: nothing was written.
    Lost,
}

/// An event whose handler kept failing.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Which.
    pub key: EventKey,
    /// What it says.
    pub verdict: Verdict,
    /// How often it was tried.
    pub attempts: u32,
    /// What the last try said.
    pub error: String,
    /// When it came in.
    pub received_at: SystemTime,
    /// When it was given up.
    pub died_at: SystemTime,
    /// As it came.
    pub body: Bytes,
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events to be handled, now or later.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// Scans in the pending set for which nothing came yet.
    pub pending: u64,
}

impl StoreError {
    /// Wraps the cause.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into())
    }
}

impl PartialEq for StoreId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for StoreId {}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.scan_id, self.event, self.sequence)
    }
}

impl Verdict {
    pub(crate) const ALL: [Self; 5] = [Self::Clean, Self::Infected, Self::Nsfw, Self::Mixed, Self::Failed];

    /// As the service writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Infected => "infected",
            Self::Nsfw => "nsfw",
            Self::Mixed => "mixed",
            Self::Failed => "failed",
        }
    }

    /// Of a text that [`Verdict::as_str`] wrote.
    fn of_stored(text: &str) -> Result<Self, StoreError> {
        let found = Self::ALL.into_iter().find(|verdict| verdict.as_str() == text);
        found.ok_or_else(|| StoreError::Corrupt(format!("{text:?} is no verdict")))
    }
}

/// Milliseconds since 1970; times before that are 1970.
pub(super) fn to_millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn from_millis(millis: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
