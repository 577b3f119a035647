//! `POST /v1/scan`, `POST /v1/scan/async`, `GET` and `DELETE /v1/scan/{id}`.

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use filesafety_model::{ScanId, ScanState};
use filesafety_store::{Accepted, Earlier, IdempotencyKey, NewScan, Place, QuotaExceeded, ScanRecord};
use tokio::time::{Instant, timeout_at};

use super::{
    auth::Caller,
    error::{ApiError, ErrorBody, ErrorCode},
    record::{self, ScanView, Underway},
    submission::{self, Content, HeldKey, Submitted, Waiting},
    upload::{self, UploadInvitation},
};
use crate::{
    clock, egress,
    intake::{Received, ReceivedContent},
    state::Shared,
    worker::{scan::ExpressFault, ticket::Ticket},
};

/// Scan a file and wait for its verdict
///
/// Send the file in the part `file` of a form, or JSON with a `url` to fetch, or JSON without one to get an upload URL.
/// Waits at most 25 s from the last byte; past that the answer is 202, and the verdict follows at `GET /v1/scan/{id}` and by webhook.
#[utoipa::path(post, path = "/v1/scan", operation_id = "scan", tag = "Scans", security(("api_key" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable characters; a repeat within 24 h answers what the first request's scan is now"),
        ("Prefer" = Option<String>, Header, description = "`respond-async` answers 202 at once"),
        ("Cache-Control" = Option<String>, Header, description = "`no-cache` scans anew even where the same bytes were judged before")),
    request_body(description = "The file with its fields, or JSON", content((super::openapi::ScanForm = "multipart/form-data"), (super::openapi::ScanJson = "application/json"))),
    responses((status = 200, description = "The result", body = ScanView), (status = 201, description = "An upload URL", body = UploadInvitation),
        (status = 202, description = "Still scanning", body = Underway), (status = 400, description = "`validation_error`", body = ErrorBody),
        (status = 401, description = "`invalid_api_key`", body = ErrorBody), (status = 408, description = "`upload_too_slow`", body = ErrorBody),
        (status = 409, description = "`idempotency_conflict`, `idempotency_in_progress`", body = ErrorBody), (status = 413, description = "`file_too_large`", body = ErrorBody),
        (status = 415, description = "`unsupported_media_type`", body = ErrorBody), (status = 422, description = "`fetch_failed`, `fetch_refused`, `fetch_too_large`", body = ErrorBody),
        (status = 429, description = "`quota_exceeded`, `rate_limited`", body = ErrorBody), (status = 502, description = "`upstream_error`: an engine did not answer", body = ErrorBody),
        (status = 503, description = "`overloaded`, `storage_unavailable`", body = ErrorBody)))]
pub(crate) async fn submit(State(state): State<Shared>, caller: Caller, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    let waiting = waiting_wanted(&headers);
    take_in(&state, &caller, &headers, body, waiting).await
}

/// Scan a file and answer at once
///
/// As `POST /v1/scan`, but the answer is 202 as soon as the file is durable.
#[utoipa::path(post, path = "/v1/scan/async", operation_id = "scan_async", tag = "Scans", security(("api_key" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "As for `POST /v1/scan`"), ("Cache-Control" = Option<String>, Header, description = "As for `POST /v1/scan`")),
    request_body(description = "The file with its fields, or JSON", content((super::openapi::ScanForm = "multipart/form-data"), (super::openapi::ScanJson = "application/json"))),
    responses((status = 201, description = "An upload URL", body = UploadInvitation), (status = 202, description = "Accepted", body = Underway),
        (status = 400, description = "`validation_error`", body = ErrorBody), (status = 401, description = "`invalid_api_key`", body = ErrorBody),
        (status = 408, description = "`upload_too_slow`", body = ErrorBody), (status = 409, description = "`idempotency_conflict`, `idempotency_in_progress`", body = ErrorBody),
        (status = 413, description = "`file_too_large`", body = ErrorBody), (status = 415, description = "`unsupported_media_type`", body = ErrorBody),
        (status = 429, description = "`quota_exceeded`, `rate_limited`", body = ErrorBody), (status = 503, description = "`overloaded`, `storage_unavailable`", body = ErrorBody)))]
pub(crate) async fn submit_async(
    State(state): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    take_in(&state, &caller, &headers, body, Waiting::No).await
}

/// One scan as it stands
#[utoipa::path(get, path = "/v1/scan/{id}", operation_id = "get_scan", tag = "Scans", security(("api_key" = [])), params(("id" = String, Path, description = "The scan's id, `scn_…`")),
    responses((status = 200, description = "The scan", body = ScanView),
        (status = 401, description = "`invalid_api_key`", body = ErrorBody), (status = 404, description = "`scan_not_found`: no such scan, or another account's", body = ErrorBody),
        (status = 429, description = "`rate_limited`", body = ErrorBody)))]
pub(crate) async fn show(State(state): State<Shared>, caller: Caller, Path(id): Path<String>) -> Result<Json<ScanView>, ApiError> {
    caller.read(&state)?;
    let scan = state.store.scan(caller.account.id, parse_id(&id)?).await?;
    Ok(Json(ScanView::of(&scan)))
}

/// Erase a scan
///
/// Content, row, metadata and deliveries go; retries are cancelled.
#[utoipa::path(delete, path = "/v1/scan/{id}", operation_id = "delete_scan", tag = "Scans", security(("api_key" = [])), params(("id" = String, Path, description = "The scan's id, `scn_…`")),
    responses((status = 204, description = "Erased"), (status = 401, description = "`invalid_api_key`", body = ErrorBody),
        (status = 404, description = "`scan_not_found`", body = ErrorBody), (status = 409, description = "`scan_in_progress`", body = ErrorBody), (status = 429, description = "`rate_limited`", body = ErrorBody)))]
pub(crate) async fn delete(State(state): State<Shared>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    caller.read(&state)?;
    let id = parse_id(&id)?;
    match state.store.delete(caller.account.id, id, clock::now()).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(filesafety_store::StoreError::Conflict(_)) => {
            Err(ApiError::new(ErrorCode::ScanInProgress, "The scan is running; erase it when it has finished.").about(id))
        }
        Err(error) => Err(error.into()),
    }
}

/// A malformed id names no scan.
pub(crate) fn parse_id(text: &str) -> Result<ScanId, ApiError> {
    text.parse().map_err(|_| ApiError::scan_not_found())
}

pub(crate) fn waiting_wanted(headers: &HeaderMap) -> Waiting {
    let asynchronous = headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"));
    if asynchronous { Waiting::No } else { Waiting::ForTheVerdict }
}

async fn take_in(state: &Shared, caller: &Caller, headers: &HeaderMap, body: Body, waiting: Waiting) -> Result<Response, ApiError> {
    caller.submit(state)?;
    if state.desk.is_draining() {
        return Err(ApiError::draining());
    }
    let key = submission::hold_key(state, caller, headers)?;
    let earlier = match &key {
        Some(key) => state.store.idempotent(caller.account.id, &key.key, clock::now()).await?,
        None => None,
    };
    if earlier.is_none() {
        check_quota(state, caller).await?;
    }
    let submitted = submission::read(state, headers, body, waiting).await?;
    if let Some(earlier) = &earlier {
        return replay(state, caller, earlier, &submitted).await;
    }
    let idempotency = key.as_ref().map(|key| IdempotencyKey { key: key.key.clone(), fields: submitted.fields_digest() });
    let new = submitted.new_scan(state, caller, waiting, idempotency);
    match submitted.content {
        Content::File(received) => accept_file(state, headers, Ticket::New(Box::new(new)), received, waiting, key).await,
        Content::Url(url) => accept_url(state, new, url, waiting).await,
        Content::None => upload::invite(state, new).await,
    }
}

/// The quota as far as it can be known before the bytes are there; it is counted when they are accepted.
async fn check_quota(state: &Shared, caller: &Caller) -> Result<(), ApiError> {
    if caller.account.quota.is_none() || caller.account.overage == filesafety_store::Overage::Allow {
        return Ok(());
    }
    let now = clock::now();
    let usage = state.store.usage(caller.account.id, now).await?;
    match usage.quota {
        Some(quota) if usage.used >= quota => {
            Err(quota_exceeded(&QuotaExceeded { quota, used: usage.used, period_ends: usage.period_ends }))
        }
        Some(_) | None => Ok(()),
    }
}

pub(crate) fn quota_exceeded(exceeded: &QuotaExceeded) -> ApiError {
    let wait = exceeded.period_ends.since(clock::now()).as_secs();
    let message =
        format!("The account has used its {} scans of this month; the next month begins {}.", exceeded.quota, exceeded.period_ends);
    ApiError::new(ErrorCode::QuotaExceeded, message).retry_after(wait)
}

/// Answers what the first request's scan is now.
async fn replay(state: &Shared, caller: &Caller, earlier: &Earlier, submitted: &Submitted) -> Result<Response, ApiError> {
    let digest = match &submitted.content {
        Content::File(received) => Some(&received.facts.sha256),
        Content::Url(_) | Content::None => None,
    };
    let id = submission::same_request(earlier, &submitted.fields_digest(), digest)?;
    let scan = state.store.scan(caller.account.id, id).await?;
    Ok(record::replayed(record::answer(&scan)?))
}

/// A file that is in: deduplicated, judged in memory, or queued.
pub(crate) async fn accept_file(
    state: &Shared,
    headers: &HeaderMap,
    ticket: Ticket,
    received: Received,
    waiting: Waiting,
    key: Option<HeldKey>,
) -> Result<Response, ApiError> {
    let Received { facts, content } = received;
    let id = ticket.id();
    let guard = ticket.has_webhook().then(|| state.gates.close(id));
    let deadline = Instant::now() + state.config.sync_wait;
    if let Some(reusable) = reusable(state, headers, &ticket, &facts).await? {
        let media_type = reusable.file.media_type;
        let facts = filesafety_store::FileFacts { media_type, ..facts };
        let scan = state.desk.record_known(ticket, facts, reusable.judgement, true).await.map_err(express_fault)?;
        let response = if waiting == Waiting::No { record::underway(id, ScanState::Pending, Some(0)) } else { record::answer(&scan)? };
        return Ok(record::guarded(response, guard));
    }
    let response = match content {
        ReceivedContent::Memory(bytes) => {
            let express = state.desk.express(ticket, facts, bytes);
            let (finished, mut accepted) = (express.finished, express.accepted);
            match timeout_at(deadline, finished).await {
                Ok(Ok(Ok(scan))) => record::answer(&scan)?,
                Ok(Ok(Err(fault))) => return Err(express_fault(fault)),
                Ok(Err(_)) => return Err(ApiError::internal(&"a scan ended without an outcome")),
                Err(_) if accepted.try_recv().is_ok() => record::underway(id, ScanState::Scanning, None),
                Err(_) => return Err(ApiError::overloaded()),
            }
        }
        ReceivedContent::Stored(blob) => {
            let ended = state.desk.ended(id);
            let account = ticket.account();
            let now = clock::now();
            let accepted = ticket
                .accept(&state.store, now, facts, blob, Place::Queue { limit: state.config.intake.queue })
                .await
                .map_err(upload::store_fault)?;
            check_accepted(accepted)?;
            match waiting {
                Waiting::No => record::underway(id, ScanState::Pending, Some(eta(state).await)),
                Waiting::ForTheVerdict => wait_for(state, account, id, ended, deadline).await?,
            }
        }
    };
    drop(key);
    Ok(record::guarded(response, guard))
}

async fn accept_url(state: &Shared, new: NewScan, url: String, waiting: Waiting) -> Result<Response, ApiError> {
    if !state.config.fetch.enabled {
        return Err(ApiError::validation("url scans are switched off here; send the file itself."));
    }
    egress::check_fetch_url(&url, &state.config.fetch.allow_nets).map_err(|error| ApiError::validation(format!("url {error}.")))?;
    let (id, account) = (new.id, new.account);
    let guard = new.webhook.is_some().then(|| state.gates.close(id));
    let ended = state.desk.ended(id);
    let deadline = Instant::now() + state.config.sync_wait;
    let accepted = state.store.accept_url(new, url, Place::Queue { limit: state.config.intake.queue }).await?;
    check_accepted(accepted)?;
    let response = match waiting {
        Waiting::No => record::underway(id, ScanState::Pending, Some(eta(state).await)),
        Waiting::ForTheVerdict => wait_for(state, account, id, ended, deadline).await?,
    };
    Ok(record::guarded(response, guard))
}

/// Waits until the scan has ended or the time is up.
async fn wait_for(
    state: &Shared,
    account: filesafety_model::AccountId,
    id: ScanId,
    ended: tokio::sync::oneshot::Receiver<()>,
    deadline: Instant,
) -> Result<Response, ApiError> {
    let _ = timeout_at(deadline, ended).await;
    let scan: ScanRecord = state.store.scan(account, id).await?;
    record::answer(&scan)
}

async fn reusable(
    state: &Shared,
    headers: &HeaderMap,
    ticket: &Ticket,
    facts: &filesafety_store::FileFacts,
) -> Result<Option<filesafety_store::Reusable>, ApiError> {
    let fresh_wanted = headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("no-cache"));
    if fresh_wanted || state.config.deduplicate_for == Duration::ZERO {
        return Ok(None);
    }
    let not_before = clock::now().minus(state.config.deduplicate_for);
    Ok(state.store.reuse(ticket.account(), facts.sha256, ticket.fingerprint(), not_before).await?)
}

fn check_accepted(accepted: Accepted) -> Result<(), ApiError> {
    match accepted {
        Accepted::Queued | Accepted::Running(_) => Ok(()),
        Accepted::QuotaExceeded(exceeded) => Err(quota_exceeded(&exceeded)),
        Accepted::IdempotencyTaken(earlier) => Err(idempotency_taken(&earlier)),
        Accepted::Overloaded => Err(ApiError::overloaded()),
    }
}

fn express_fault(fault: ExpressFault) -> ApiError {
    match fault {
        ExpressFault::Quota(exceeded) => quota_exceeded(&exceeded),
        ExpressFault::Idempotency(earlier) => idempotency_taken(&earlier),
        ExpressFault::Overloaded => ApiError::overloaded(),
        ExpressFault::Store(error) => upload::store_fault(error),
    }
}

pub(crate) fn idempotency_taken(earlier: &Earlier) -> ApiError {
    ApiError::new(ErrorCode::IdempotencyConflict, "Another request with this Idempotency-Key was faster.").about(earlier.scan)
}

/// A guess: each waiting scan takes a few milliseconds of one thread.
async fn eta(state: &Shared) -> u64 {
    let depths = state.store.depths().await.unwrap_or_default();
    let threads = state.config.scan_threads.get() as u64;
    1 + (depths.pending_sync + depths.pending_async) / (20 * threads)
}

pub(crate) fn json_response(status: StatusCode, body: impl serde::Serialize) -> Response {
    (status, Json(body)).into_response()
}
