//! Verdicts that newer data turns: what was judged before, and writing down that it is judged otherwise now.

use filesafety_model::{Judgement, ScanId, Sha256, Timestamp};
use rusqlite::Connection;

use crate::{
    Announcement, FirstDelivery, Result, ScanRecord, Store,
    sqlite::{columns::json, events, scans, verdicts as sql},
};

/// Content that a scan had, by its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownContent {
    pub scan: ScanId,
    pub sha256: Sha256,
}

/// A stretch of all content, in no order that means anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentPage {
    pub contents: Vec<KnownContent>,
    /// `None`: nothing follows.
    pub next: Option<ContentPlace>,
}

/// A place in the walk over all content. It stays where it is when scans are added or erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentPlace {
    pub(crate) account: String,
    pub(crate) sha256: Sha256,
    pub(crate) created_at: Timestamp,
    pub(crate) scan: ScanId,
}

/// A finished scan's verdict, turned.
#[derive(Clone, Debug)]
pub struct VerdictTurn {
    pub scan: ScanId,
    /// [`ScanRecord::sequence`] as it was when the new judgement was made of the old one. Fences.
    pub seen: u32,
    pub at: Timestamp,
    pub judgement: Judgement,
    /// Its sequence is `seen + 1`.
    pub announcement: Announcement,
    /// Ignored when the scan has no webhook, or its owner did not ask for the event.
    pub delivery: FirstDelivery,
}

impl Store {
    /// The content of scans created at `since` or later, up to `limit` after `after`. Scans that have not finished are among them.
    pub async fn contents(&self, after: Option<ContentPlace>, since: Option<Timestamp>, limit: u32) -> Result<ContentPage> {
        self.read(move |conn| sql::contents(conn, after.as_ref(), since, limit)).await
    }

    /// A scan, whoever's it is. For work of the service itself; requests use [`Store::scan`].
    pub async fn scan_of_anyone(&self, scan: ScanId) -> Result<ScanRecord> {
        self.read(move |conn| scans::get(conn, None, scan)).await
    }

    /// Turns a verdict: judgement, event and delivery at once. The scan is never reused for others from then on: its verdict is no
    /// more what its engines said. Whether a webhook tells of it.
    ///
    /// [`Conflict::VerdictTurned`](crate::Conflict::VerdictTurned) when another was faster, `NotFound` when the scan was erased or is not
    /// complete.
    pub async fn turn_verdict(&self, turn: VerdictTurn) -> Result<bool> {
        let judgement = json(&turn.judgement)?;
        let job = move |conn: &Connection| {
            sql::turn(conn, &turn, &judgement)?;
            events::announce(conn, turn.scan, &turn.announcement, Some(&turn.delivery))
        };
        let told = self.write(job).await?;
        self.signal_finished();
        Ok(told)
    }
}
