//! The facts that are announced: the frozen body of each event.

use filesafety_model::{AccountId, EventId, Judgement, ScanId, Sha256, Timestamp};
use filesafety_store::Announcement;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::views::{FailureView, NsfwView, VirusView};

pub(crate) const SCAN_COMPLETE: &str = "scan.complete";
pub(crate) const SCAN_VERDICT_UPDATED: &str = "scan.verdict_updated";
pub(crate) const WEBHOOK_TEST: &str = "webhook.test";

/// What happened to which scan.
pub(crate) struct Finished<'a> {
    pub(crate) scan: ScanId,
    pub(crate) judgement: &'a Judgement,
    pub(crate) digest: Option<&'a Sha256>,
    /// JSON object text, as it came in.
    pub(crate) metadata: Option<&'a str>,
    pub(crate) at: Timestamp,
}

#[derive(Serialize)]
struct ScanComplete<'a> {
    event: &'static str,
    scan_id: String,
    verdict: &'static str,
    virus: Option<VirusView>,
    nsfw: Option<NsfwView>,
    file_hash: Option<String>,
    metadata: Option<&'a RawValue>,
    completed_at: String,
    sequence: u32,
    failure: Option<FailureView>,
}

/// `scan.complete`, sequence 1.
pub(crate) fn scan_complete(event: EventId, finished: &Finished<'_>) -> Announcement {
    let judgement = finished.judgement;
    let body = ScanComplete {
        event: SCAN_COMPLETE,
        scan_id: finished.scan.to_string(),
        verdict: judgement.verdict.as_str(),
        virus: judgement.virus.as_ref().map(VirusView::of),
        nsfw: judgement.nsfw.as_ref().map(NsfwView::of),
        file_hash: finished.digest.map(Sha256::to_string),
        metadata: finished.metadata.or(Some("{}")).and_then(|text| serde_json::from_str(text).ok()),
        completed_at: finished.at.to_string(),
        sequence: 1,
        failure: judgement.failure.as_ref().map(FailureView::of),
    };
    Announcement { event, name: SCAN_COMPLETE.to_owned(), sequence: 1, body: to_json(&body), created_at: finished.at }
}

#[derive(Serialize)]
struct WebhookTest {
    event: &'static str,
    account: String,
    created_at: String,
}

/// The body of `webhook.test`.
pub(crate) fn webhook_test(account: AccountId, now: Timestamp) -> String {
    to_json(&WebhookTest { event: WEBHOOK_TEST, account: account.to_string(), created_at: now.to_string() })
}

fn to_json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("maps with text keys and finite numbers always serialise")
}
