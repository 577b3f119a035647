//! The account's events in the order in which they were committed.

use filesafety_model::{AccountId, EventId, ScanId, Timestamp};

use crate::{Result, Store, sqlite::events as sql};

/// An event as it is streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    pub id: EventId,
    pub scan: ScanId,
    pub name: String,
    pub sequence: u32,
    pub body: String,
    pub created_at: Timestamp,
}

/// A stretch of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// The event asked for is not known any more: events may be missing before the first.
    pub gap: bool,
    pub events: Vec<EventRecord>,
    /// Where the next page begins.
    pub place: EventPlace,
}

/// A place in the stream. It stays where it is when events are erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPlace(pub(crate) i64);

/// Where a page of the stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Event(EventId),
    Place(EventPlace),
    Beginning,
}

impl Store {
    /// The account's events after `after`, in order of commit, created at `kept_from` or later; from the first of these when there is a gap.
    /// [`After::Beginning`] begins there, too.
    pub async fn events_since(&self, account: AccountId, after: After, kept_from: Timestamp, limit: u32) -> Result<EventPage> {
        self.read(move |conn| sql::since(conn, account, after, kept_from, limit)).await
    }

    /// After the account's newest event: where a stream without `Last-Event-ID` begins.
    pub async fn newest_place(&self, account: AccountId) -> Result<EventPlace> {
        self.read(move |conn| sql::newest(conn, account)).await
    }
}
