//! What a handler gets.

use std::{ops::Deref, time::SystemTime};

use bytes::Bytes;
use serde::Deserialize;

use super::store::{Claimed, EventKey, NewEvent, SignedHeaders};
use crate::event::{Event, EventError, Failure, ScanComplete, Verdict};

/// A verdict to act on: `scan.complete` or `scan.verdict_updated`. Derefs to the body.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScanEvent {
    /// What holds now.
    pub scan: ScanComplete,
    /// The verdict that this one replaces: set exactly for `scan.verdict_updated`.
    pub previous_verdict: Option<Verdict>,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// When it came in.
    pub received_at: SystemTime,
    /// As they came.
    pub headers: SignedHeaders,
    /// The raw body.
    pub body: Bytes,
}

impl ScanEvent {
    /// The same for every repeat of the event: what an idempotent handler keeps.
    pub fn key(&self) -> EventKey {
        key_of(&self.scan)
    }

    /// `metadata.context`, where it is a text: it chooses the handler of [`Builder::on_context`](super::Builder::on_context).
    pub fn context(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Context {
            context: Option<serde_json::Value>,
        }
        match self.scan.metadata.read::<Context>().ok()?.context? {
            serde_json::Value::String(context) => Some(context),
            _ => None,
        }
    }

    /// Whether the verdict is `failed` and submitting the file again may end otherwise. Bound the number of resubmissions.
    pub fn retryable(&self) -> bool {
        self.scan.failure.as_ref().is_some_and(|Failure { retryable, .. }| *retryable)
    }

    pub(super) fn of_claimed(claimed: &Claimed) -> Result<Self, EventError> {
        let (scan, previous_verdict) = match Event::parse(&claimed.body)? {
            Event::ScanComplete(scan) => (*scan, None),
            Event::ScanVerdictUpdated(update) => (update.scan, Some(update.previous_verdict)),
            Event::WebhookTest(_) | Event::Unknown { .. } => {
                return Err(EventError::from(<serde_json::Error as serde::de::Error>::custom("nothing to handle")));
            }
        };
        let Claimed { attempt, received_at, headers, body, claim: _ } = claimed.clone();
        Ok(Self { scan, previous_verdict, attempt, received_at, headers, body })
    }
}

impl Deref for ScanEvent {
    type Target = ScanComplete;

    fn deref(&self) -> &ScanComplete {
        &self.scan
    }
}

impl NewEvent {
    pub(super) fn of(scan: &ScanComplete, headers: SignedHeaders, body: Bytes) -> Self {
        Self { key: key_of(scan), verdict: scan.verdict, headers, body }
    }
}

fn key_of(scan: &ScanComplete) -> EventKey {
    EventKey { scan_id: scan.scan_id.clone(), event: scan.event.clone(), sequence: scan.sequence }
}

/// `scn_` and letters and digits, as many as a ULID has or a later version may want.
pub(super) fn is_scan_id(text: &str) -> bool {
    let rest = text.strip_prefix("scn_");
    rest.is_some_and(|rest| (1..=60).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}
