//! A scan as the API shows it.

use axum::{
    Json,
    body::Body,
    http::{HeaderValue, StatusCode},
    response::{IntoResponse as _, Response},
};
use filesafety_model::{FailureCode, ScanId, ScanState, Verdict};
use filesafety_store::{FileFacts, ScanRecord, StateRecord, WebhookState};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorCode};
use crate::{
    views::{CoverageView, FailureView, NsfwView, VirusView},
    worker::gate::GateGuard,
};

/// One scan, finished or not.
#[derive(Serialize, ToSchema)]
pub(crate) struct ScanView {
    #[schema(example = "scn_01JD3Q8Z2M6T9V4W7X0Y1Z2A3B")]
    scan_id: String,
    /// `awaiting_upload`, `pending`, `scanning`, `complete` or `failed`.
    status: &'static str,
    /// `clean`, `infected`, `nsfw`, `mixed` or `failed`; null until the scan has finished.
    verdict: Option<&'static str>,
    /// Null until the scan has finished, and where malware was not asked for or not judged.
    virus: Option<VirusView>,
    /// Null until the scan has finished, and where pictures were not asked for or not judged.
    nsfw: Option<NsfwView>,
    coverage: Option<CoverageView>,
    /// Exactly when the verdict is `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureView>,
    /// `sha256:` and 64 hex digits; null until the bytes are there.
    file_hash: Option<String>,
    file: Option<FileView>,
    /// As it was submitted; null where none was.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
    created_at: String,
    completed_at: Option<String>,
    /// When newer data last turned the verdict; absent where none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    /// Until when the upload URL can be used, while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// Whether the verdict is an earlier scan's of the same bytes.
    deduplicated: bool,
    /// Null where none is to be sent.
    webhook: Option<WebhookView>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct FileView {
    /// As the client called it, cut to 255 characters.
    name: Option<String>,
    /// Bytes.
    size: u64,
    /// By content, never by name.
    #[serde(rename = "type")]
    media_type: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookView {
    url_host: String,
    /// `pending`, `delivering`, `delivered` or `abandoned`.
    status: &'static str,
    attempts: u32,
}

/// A scan that has no verdict yet.
#[derive(Serialize, ToSchema)]
pub(crate) struct Underway {
    scan_id: String,
    /// `pending` or `scanning`.
    status: &'static str,
    /// A guess of when it is worth asking, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_seconds: Option<u64>,
}

impl ScanView {
    pub(crate) fn of(scan: &ScanRecord) -> Self {
        let (judgement, completed_at, expires_at) = match &scan.state {
            StateRecord::AwaitingUpload { expires_at } => (None, None, Some(expires_at.to_string())),
            StateRecord::Pending | StateRecord::Scanning => (None, None, None),
            StateRecord::Finished { at, judgement } => (Some(judgement), Some(at.to_string()), None),
        };
        Self {
            scan_id: scan.id.to_string(),
            status: scan.status().as_str(),
            verdict: judgement.map(|judgement| judgement.verdict.as_str()),
            virus: judgement.and_then(|judgement| judgement.virus.as_ref()).map(VirusView::of),
            nsfw: judgement.and_then(|judgement| judgement.nsfw.as_ref()).map(NsfwView::of),
            coverage: judgement.map(|judgement| CoverageView::of(judgement)),
            failure: judgement.and_then(|judgement| judgement.failure.as_ref()).map(FailureView::of),
            file_hash: scan.file.as_ref().map(|file| file.sha256.to_string()),
            file: scan.file.as_ref().map(FileView::of),
            metadata: scan.metadata.clone().and_then(|text| RawValue::from_string(text).ok()),
            created_at: scan.created_at.to_string(),
            completed_at,
            updated_at: scan.updated_at.map(|at| at.to_string()),
            expires_at,
            deduplicated: scan.deduplicated,
            webhook: scan.webhook.as_ref().and_then(WebhookView::of),
        }
    }
}

impl WebhookView {
    fn of(webhook: &WebhookState) -> Option<Self> {
        let status = webhook.status?.as_str();
        Some(Self { url_host: webhook.url_host.clone(), status, attempts: webhook.attempts })
    }
}

impl FileView {
    fn of(file: &FileFacts) -> Self {
        Self { name: file.name.clone(), size: file.size, media_type: file.media_type.clone() }
    }
}

/// The answer to a submission whose scan stands as `scan` does: the result, or where to ask for it.
pub(crate) fn answer(scan: &ScanRecord) -> Result<Response, ApiError> {
    match &scan.state {
        StateRecord::Finished { judgement, .. } if judgement.verdict == Verdict::Failed => Err(failed(scan, judgement.failure.as_ref())),
        StateRecord::Finished { .. } => Ok(Json(ScanView::of(scan)).into_response()),
        StateRecord::AwaitingUpload { .. } | StateRecord::Pending | StateRecord::Scanning => Ok(underway(scan.id, scan.status(), None)),
    }
}

/// 202.
pub(crate) fn underway(scan: ScanId, status: ScanState, eta_seconds: Option<u64>) -> Response {
    (StatusCode::ACCEPTED, Json(Underway { scan_id: scan.to_string(), status: status.as_str(), eta_seconds })).into_response()
}

/// Marks the answer to a repeated `Idempotency-Key`.
pub(crate) fn replayed(mut response: Response) -> Response {
    response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    response
}

/// Keeps the scan's webhook back until this answer's body is gone.
pub(crate) fn guarded(response: Response, guard: Option<GateGuard>) -> Response {
    match guard {
        Some(guard) => response.map(|body| Body::new(Guarded { body, _guard: guard })),
        None => response,
    }
}

fn failed(scan: &ScanRecord, failure: Option<&filesafety_model::Failure>) -> ApiError {
    let code = failure.map_or(FailureCode::EngineUnavailable, |failure| failure.code);
    let message = failure.map_or_else(String::new, |failure| failure.message.clone());
    let code = match code {
        FailureCode::EngineUnavailable | FailureCode::StorageLost => ErrorCode::UpstreamError,
        FailureCode::FetchFailed => ErrorCode::FetchFailed,
        FailureCode::FetchRefused => ErrorCode::FetchRefused,
        FailureCode::FetchTooLarge => ErrorCode::FetchTooLarge,
        FailureCode::UploadExpired => ErrorCode::UploadExpired,
    };
    ApiError::new(code, message).about(scan.id)
}

/// A body with something that lives as long as it does.
struct Guarded {
    body: Body,
    _guard: GateGuard,
}

impl http_body::Body for Guarded {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use filesafety_model::{
        AccountId, Category, Coverage, Failure, Judgement, Note, NsfwFinding, PictureFault, Reason, ScanTypes, Scores, Sha256, Timestamp,
        Unexamined, View, VirusFinding,
    };
    use filesafety_store::{DeliveryStatus, SourceRecord, Submission, WebhookState};

    use super::*;

    fn record(state: StateRecord) -> ScanRecord {
        let created_at = Timestamp::from_millis(1_790_000_000_000);
        let sha256 = Sha256::new([7; 32]);
        ScanRecord {
            id: ScanId::new(created_at, [0; 10]),
            account: AccountId::new(created_at, [0; 10]),
            key: None,
            created_at,
            lane: Submission::Sync,
            source: SourceRecord::Bytes,
            types: ScanTypes::ALL,
            metadata: Some(r#"{"z": 18446744073709551616, "a": 1.10}"#.into()),
            file: Some(FileFacts { name: Some("a.zip".into()), size: 184, sha256, media_type: "application/zip".into() }),
            file_name: None,
            events: Vec::new(),
            policy: "strict".into(),
            password: None,
            fingerprint: String::new(),
            state,
            deduplicated: true,
            sequence: 2,
            updated_at: Some(Timestamp::from_millis(1_790_000_100_000)),
            webhook: Some(WebhookState {
                url_host: "a.example".into(),
                status: Some(DeliveryStatus::Delivered),
                attempts: 2,
                delivery: None,
                event: None,
            }),
        }
    }

    fn finished(judgement: Judgement) -> ScanRecord {
        record(StateRecord::Finished { at: Timestamp::from_millis(1_790_000_000_120), judgement: Box::new(judgement) })
    }

    fn everything() -> Judgement {
        let scores = Scores { drawing: 0.1, hentai: 0.2, neutral: 0.3, porn: 0.3, sexy: 0.1 };
        let nsfw = NsfwFinding {
            clean: Some(false),
            applied: true,
            categories: vec![Category::ExplicitNudity, Category::Unjudged],
            confidence: 0.3,
            scores: Some(scores),
            views: vec![View { name: "whole".into(), scores }],
            reason: Some(PictureFault::TooLarge),
            path: Some("a/b.png".into()),
        };
        let coverage = Coverage {
            objects: 3,
            bytes: 392,
            unexamined: vec![Unexamined { path: "c".into(), reason: Reason::Limit, signature: "Heuristics.Limits.Time".into() }],
            notes: vec![Note { path: String::new(), note: "bytes after the end".into() }],
            answered: Vec::new(),
        };
        let virus = Some(VirusFinding::default());
        let failure = Some(Failure { code: FailureCode::EngineUnavailable, message: "No answer.".into() });
        Judgement { verdict: Verdict::Mixed, virus, nsfw: Some(nsfw), coverage, failure }
    }

    #[test]
    fn what_is_answered_is_what_the_sdk_reads() {
        let verdicts = [Verdict::Clean, Verdict::Infected, Verdict::Nsfw, Verdict::Mixed, Verdict::Failed];
        let mut scans: Vec<_> = verdicts.map(|verdict| finished(Judgement { verdict, ..everything() })).into();
        scans.extend(
            [StateRecord::AwaitingUpload { expires_at: Timestamp::from_millis(0) }, StateRecord::Pending, StateRecord::Scanning]
                .map(record),
        );
        scans.push(ScanRecord { updated_at: None, file: None, metadata: None, webhook: None, ..record(StateRecord::Pending) });
        for scan in scans {
            let sent = serde_json::to_string(&ScanView::of(&scan)).unwrap();
            let read: filesafety::Scan = serde_json::from_str(&sent).unwrap();
            // Read and written again it is the same text: neither side has a field that the other lacks, and metadata keeps its digits.
            assert_eq!(serde_json::to_string(&read).unwrap(), sent);
        }
    }
}
