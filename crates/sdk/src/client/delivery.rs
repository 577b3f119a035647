//! Attempts to tell of a scan.

use serde::{Deserialize, Serialize};

/// One HTTP try to deliver an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attempt {
    /// The `webhook-id`, the same for every attempt; `None` for a test.
    pub event_id: Option<String>,
    /// The event's name.
    pub event: String,
    /// From 1.
    pub attempt: u32,
    /// RFC 3339, UTC.
    pub attempted_at: String,
    /// Without its query, which may hold a token.
    pub url: String,
    /// Where the connection went; `None` where there was none.
    pub address: Option<String>,
    /// The HTTP status; `None` where none came.
    pub status: Option<u16>,
    /// How long it took; `None` while it is under way.
    pub milliseconds: Option<u64>,
    /// Whether the answer was a 2xx.
    pub delivered: bool,
    /// What went wrong.
    pub error: Option<AttemptError>,
    /// The head of the answer's body, as text. Whoever answered wrote it: escape it wherever it is shown.
    pub response: String,
    /// RFC 3339, UTC; `None` when there is to be no other.
    pub next_attempt_at: Option<String>,
}

/// What went wrong with an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttemptError {
    /// `dns`, `address_refused`, `connect`, `tls_expired`, `timeout`, `status`, …
    pub kind: String,
    /// A sentence for a person.
    pub message: String,
}
