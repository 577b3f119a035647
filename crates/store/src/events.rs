//! The account's events in the order in which they were committed.

use filesafety_model::{AccountId, EventId, ScanId, Timestamp};

use crate::{Result, Store, sqlite::events as sql};

const BOOKMARK: &str = "at_";
/// Characters of a bookmark's seal.
const SEAL: usize = 16;

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
    /// Everything up to `place` was seen at `at`.
    Bookmark {
        place: EventPlace,
        at: Timestamp,
    },
    Beginning,
}

impl Store {
    /// The account's events after `after`, in order of commit, created at `kept_from` or later; from the first of these when there is a gap.
    /// [`After::Beginning`] begins there, too.
    pub async fn events_since(&self, account: AccountId, after: After, kept_from: Timestamp, limit: u32) -> Result<EventPage> {
        self.read(move |conn| sql::since(conn, account, after, kept_from, limit)).await
    }

    /// `place` as a text to resume at, when everything up to it was seen at `now`. Unlike an event's id it outlives the event, and it is
    /// there before the first event is. Only this store reads it, and only for this account.
    pub fn bookmark(&self, account: AccountId, place: EventPlace, now: Timestamp) -> String {
        let text = format!("{BOOKMARK}{}_{}", place.0, now.as_millis());
        format!("{text}_{}", self.seal_of_bookmark(account, &text))
    }

    /// What [`Store::bookmark`] wrote; `None` for any other text.
    pub fn read_bookmark(&self, account: AccountId, text: &str) -> Option<After> {
        // From the front: the seal may hold the separator.
        let (place, rest) = text.strip_prefix(BOOKMARK)?.split_once('_')?;
        let (at, _) = rest.split_once('_')?;
        let (place, at) = (EventPlace(place.parse().ok()?), Timestamp::from_millis(at.parse().ok()?));
        // It guards against another store's bookmarks rather than against forgers, who would see their own account's events all the same.
        (text == self.bookmark(account, place, at)).then_some(After::Bookmark { place, at })
    }

    fn seal_of_bookmark(&self, account: AccountId, text: &str) -> String {
        self.sealer().token(&format!("{account}/{text}")).chars().take(SEAL).collect()
    }

    /// After the account's newest event: where a stream without `Last-Event-ID` begins.
    pub async fn newest_place(&self, account: AccountId) -> Result<EventPlace> {
        self.read(move |conn| sql::newest(conn, account)).await
    }
}
