//! Lists of scans, a page at a time or one after another.

use std::{collections::VecDeque, fmt::Write as _};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::{Client, error::ClientError};
use crate::{
    event::Verdict,
    scan::{Scan, Status},
};

/// Which scans a list holds: those that meet every condition.
///
/// ```
/// use filesafety::{client::ScanFilter, event::Verdict};
/// let filter = ScanFilter::new().verdict(Verdict::Infected).since("2026-01-31T00:00:00Z").metadata("upload_id", "upl_456");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanFilter(Vec<(String, String)>);

/// A stretch of the account's scans.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScanPage {
    /// Newest first.
    pub scans: Vec<Scan>,
    /// Where the next page begins, for [`ScanFilter::cursor`]; `None` at the end.
    pub next_cursor: Option<String>,
}

/// The account's scans, newest first, fetched a page at a time as they are asked for.
///
/// ```no_run
/// # use filesafety::{Client, client::ScanFilter, event::Verdict};
/// # async fn show(client: Client) -> Result<(), filesafety::ClientError> {
/// let mut infected = client.list(ScanFilter::new().verdict(Verdict::Infected));
/// while let Some(scan) = infected.next().await? {
///     println!("{} {}", scan.created_at, scan.scan_id);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ScanList {
    client: Client,
    filter: ScanFilter,
    next: Next,
    fetched: VecDeque<Scan>,
}

#[derive(Debug)]
enum Next {
    First,
    At(String),
    End,
}

impl ScanFilter {
    /// All scans.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this verdict.
    pub fn verdict(self, verdict: Verdict) -> Self {
        let name = match verdict {
            Verdict::Clean => "clean",
            Verdict::Infected => "infected",
            Verdict::Nsfw => "nsfw",
            Verdict::Mixed => "mixed",
            Verdict::Failed => "failed",
        };
        self.set("verdict", name)
    }

    /// With this status.
    pub fn status(self, status: Status) -> Self {
        let name = match status {
            Status::AwaitingUpload => "awaiting_upload",
            Status::Pending => "pending",
            Status::Scanning => "scanning",
            Status::Complete => "complete",
            Status::Failed => "failed",
        };
        self.set("status", name)
    }

    /// Of these bytes: SHA-256 in hex, with or without `sha256:`.
    pub fn file_hash(self, hash: impl Into<String>) -> Self {
        self.set("file_hash", hash)
    }

    /// Submitted at this time or later; RFC 3339.
    pub fn since(self, time: impl Into<String>) -> Self {
        self.set("since", time)
    }

    /// Submitted before this time; RFC 3339.
    pub fn until(self, time: impl Into<String>) -> Self {
        self.set("until", time)
    }

    /// Whose metadata has this top-level value, compared as text. Up to 16 keys.
    pub fn metadata(self, key: &str, value: impl Into<String>) -> Self {
        self.set(&format!("metadata.{key}"), value)
    }

    /// So many a page, 1 to 100; 20 by default.
    pub fn limit(self, scans: u8) -> Self {
        self.set("limit", scans.to_string())
    }

    /// Beginning at a [`ScanPage::next_cursor`].
    pub fn cursor(self, cursor: impl Into<String>) -> Self {
        self.set("cursor", cursor)
    }

    fn set(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.retain(|(set, _)| set != key);
        self.0.push((key.to_owned(), value.into()));
        self
    }

    /// The path of the list, with the conditions as its query.
    fn path(&self) -> String {
        let mut path = "/v1/scans".to_owned();
        for (position, (key, value)) in self.0.iter().enumerate() {
            let before = if position == 0 { '?' } else { '&' };
            let [key, value] = [key, value].map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC));
            write!(path, "{before}{key}={value}").expect("texts take whatever is written");
        }
        path
    }
}

impl ScanList {
    pub(super) fn new(client: &Client, filter: ScanFilter) -> Self {
        Self { client: client.clone(), filter, next: Next::First, fetched: VecDeque::new() }
    }

    /// The next scan; `None` at the end. After an error it can be asked again.
    pub async fn next(&mut self) -> Result<Option<Scan>, ClientError> {
        while self.fetched.is_empty() {
            match self.fetch().await? {
                Some(page) => self.fetched.extend(page.scans),
                None => return Ok(None),
            }
        }
        Ok(self.fetched.pop_front())
    }

    /// The next page, or what is left of the current one; `None` at the end. After an error it can be asked again.
    pub async fn next_page(&mut self) -> Result<Option<ScanPage>, ClientError> {
        if self.fetched.is_empty() {
            return self.fetch().await;
        }
        let next_cursor = match &self.next {
            Next::At(cursor) => Some(cursor.clone()),
            Next::First | Next::End => None,
        };
        Ok(Some(ScanPage { scans: std::mem::take(&mut self.fetched).into(), next_cursor }))
    }

    async fn fetch(&mut self) -> Result<Option<ScanPage>, ClientError> {
        let filter = match &self.next {
            Next::First => self.filter.clone(),
            Next::At(cursor) => self.filter.clone().cursor(cursor),
            Next::End => return Ok(None),
        };
        let page: ScanPage = self.client.read(&filter.path()).await?;
        self.next = match (&self.next, &page.next_cursor) {
            (Next::At(before), Some(cursor)) if before == cursor => {
                return Err(ClientError::Protocol("the list goes round in a circle".to_owned()));
            }
            (_, Some(cursor)) => Next::At(cursor.clone()),
            (_, None) => Next::End,
        };
        Ok(Some(page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_encoded_and_the_last_word_counts() {
        let filter = ScanFilter::new().verdict(Verdict::Nsfw).metadata("a b&c", "d=é").verdict(Verdict::Mixed).limit(5);
        assert_eq!(filter.path(), "/v1/scans?metadata%2Ea%20b%26c=d%3D%C3%A9&verdict=mixed&limit=5");
        assert_eq!(ScanFilter::new().path(), "/v1/scans");
    }
}
