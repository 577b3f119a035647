//! A scan as the service shows it: in the answer to a submission, at `GET /v1/scan/{id}`, in lists.
//!
//! Fields that a later version adds are passed over; a verdict or a status that this version does not know is an error, never a guess.

use serde::{Deserialize, Serialize};

use crate::event::{Failure, Metadata, Nsfw, Verdict, Virus};

pub use crate::event::Note;

/// One scan, finished or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// `scn_` and a ULID.
    pub scan_id: String,
    /// How far it is.
    pub status: Status,
    /// The answer to "may I keep this file?"; `None` until the scan has finished.
    pub verdict: Option<Verdict>,
    /// `None` until the scan has finished, and where malware was not asked for or not judged.
    pub virus: Option<Virus>,
    /// `None` until the scan has finished, and where pictures were not asked for or not judged.
    pub nsfw: Option<Nsfw>,
    /// How much of the file was seen; `None` until the scan has finished.
    pub coverage: Option<Coverage>,
    /// Set exactly when the verdict is `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// `sha256:` and 64 hex digits; `None` until the bytes are there.
    pub file_hash: Option<String>,
    /// What is known of the file; `None` until the bytes are there.
    pub file: Option<FileFacts>,
    /// What the application gave with the file, value for value; `None` where it gave nothing.
    pub metadata: Option<Metadata>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC; `None` until the scan has finished.
    pub completed_at: Option<String>,
    /// When newer data last turned the verdict; `None` where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// Until when the upload URL can be used, while it waits for the bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Whether the verdict is an earlier scan's of the same bytes.
    pub deduplicated: bool,
    /// What became of the webhook; `None` where none is to be sent.
    pub webhook: Option<WebhookState>,
}

/// How far a scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its upload URL was not used yet.
    AwaitingUpload,
    /// It waits for its turn.
    Pending,
    /// It runs.
    Scanning,
    /// It has a verdict.
    Complete,
    /// It ended without a judgement: the verdict is [`Verdict::Failed`].
    Failed,
}

/// How much of a file was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Whether all of it was.
    pub complete: bool,
    /// The file and everything unpacked from it.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was not examined, and why.
    #[serde(default)]
    pub unexamined: Vec<Unexamined>,
    /// What was odd and made no difference.
    #[serde(default)]
    pub notes: Vec<Note>,
}

/// A part of the file that was not examined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unexamined {
    /// Where in the file.
    pub path: String,
    /// `encrypted`, `limit`, `broken` or `unsupported`.
    pub reason: String,
    /// `Heuristics.` and what stood in the way.
    pub signature: String,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// As the client called it, cut to 255 characters. Whoever sent it chose it: never a path, and escaped wherever it is shown.
    pub name: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Media type, by content and never by name.
    #[serde(rename = "type")]
    pub media_type: String,
}

/// What became of a scan's webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookState {
    /// Where it goes, without path and query.
    pub url_host: String,
    /// `pending`, `delivering`, `delivered` or `abandoned`.
    pub status: String,
    /// Made so far.
    pub attempts: u32,
}

impl Scan {
    /// Whether the verdict is `clean`. `false` for a scan that has none yet, and for one that failed.
    ///
    /// ```
    /// # fn keep(scan: &filesafety::Scan) -> bool {
    /// scan.is_clean() && scan.coverage.as_ref().is_some_and(|coverage| coverage.complete)
    /// # }
    /// ```
    pub fn is_clean(&self) -> bool {
        self.verdict == Some(Verdict::Clean)
    }

    /// Whether there is a verdict, `failed` included.
    pub fn is_finished(&self) -> bool {
        self.verdict.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PENDING: &str = r#"{"scan_id":"scn_1","status":"pending","verdict":null,"virus":null,"nsfw":null,"coverage":null,"file_hash":null,"file":null,"metadata":null,"created_at":"2026-09-21T14:13:20.120Z","completed_at":null,"deduplicated":false,"webhook":null}"#;

    #[test]
    fn a_verdict_or_status_of_a_later_version_is_no_guess() {
        for (from, to) in [("\"verdict\":null", "\"verdict\":\"harmless\""), ("\"pending\"", "\"done\"")] {
            assert!(serde_json::from_str::<Scan>(&PENDING.replace(from, to)).is_err());
        }
    }

    #[test]
    fn what_has_no_verdict_is_not_clean() {
        let scan: Scan = serde_json::from_str(PENDING).unwrap();
        assert!(!scan.is_clean() && !scan.is_finished());
        let failed: Scan = serde_json::from_str(&PENDING.replace("\"verdict\":null", "\"verdict\":\"failed\"")).unwrap();
        assert!(!failed.is_clean() && failed.is_finished());
        assert_eq!(serde_json::to_string(&scan).unwrap(), PENDING);
    }
}
