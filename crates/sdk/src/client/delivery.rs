//! Attempts to tell of a scan, made and planned.

use serde::{Deserialize, Serialize};

/// One HTTP try to deliver an event, made or planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attempt {
    /// The `webhook-id`, the same for every attempt; `None` for a test.
    pub event_id: Option<String>,
    /// The event's name.
    pub event: String,
    /// From 1.
    pub attempt: u32,
    /// RFC 3339, UTC; `None` while it is only planned.
    pub attempted_at: Option<String>,
    /// When it is to be made, not sooner; `None` once it was.
    #[serde(default)]
    pub planned_at: Option<String>,
    /// Why a planned attempt is not made when it is due; `None` where nothing holds it.
    #[serde(default)]
    pub postponed: Option<Postponed>,
    /// Without its query, which may hold a token.
    pub url: String,
    /// Where the connection went; `None` where there was none.
    pub address: Option<String>,
    /// The version of TLS that was spoken, `1.3` or `1.2`; `None` where none was.
    #[serde(default)]
    pub tls_version: Option<String>,
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

/// Why a planned attempt waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Postponed {
    /// `circuit_open`, `earlier_event`, …
    pub reason: String,
    /// A sentence for a person.
    pub message: String,
}
