//! `POST /v1/scan`, `POST /v1/scan/async`, `GET` and `DELETE /v1/scan/{id}`.

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::{FromRequestParts, Path, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use filesafety_model::{AccountId, ScanId, ScanState, Sha256};
use filesafety_store::{
    Accepted, Blob, Earlier, FileFacts, IdempotencyKey, NewScan, Place, QuotaExceeded, Reusable, ScanRecord, StoreError,
};
use tokio::time::{Instant, timeout_at};

use super::{
    auth::Caller,
    error::{ApiError, ErrorBody, ErrorCode},
    record::{self, ScanView, Underway},
    submission::{self, Content, HeldKey, Waiting},
    upload::{self, UploadInvitation},
};
use crate::{
    clock, egress,
    intake::{self, Received, ReceivedContent},
    state::Shared,
    worker::{
        scan::{Express, ExpressFault},
        ticket::Ticket,
    },
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
pub(crate) async fn show(State(state): State<Shared>, caller: Caller, ScanPath(id): ScanPath) -> Result<Json<ScanView>, ApiError> {
    caller.read(&state)?;
    let scan = state.store.scan(caller.account.id, id).await?;
    Ok(Json(ScanView::of(&scan)))
}

/// Erase a scan
///
/// Content, row, metadata and deliveries go; retries are cancelled.
#[utoipa::path(delete, path = "/v1/scan/{id}", operation_id = "delete_scan", tag = "Scans", security(("api_key" = [])), params(("id" = String, Path, description = "The scan's id, `scn_…`")),
    responses((status = 204, description = "Erased"), (status = 401, description = "`invalid_api_key`", body = ErrorBody),
        (status = 404, description = "`scan_not_found`", body = ErrorBody), (status = 409, description = "`scan_in_progress`", body = ErrorBody), (status = 429, description = "`rate_limited`", body = ErrorBody)))]
pub(crate) async fn delete(State(state): State<Shared>, caller: Caller, ScanPath(id): ScanPath) -> Result<StatusCode, ApiError> {
    caller.read(&state)?;
    match state.store.delete(caller.account.id, id, clock::now()).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(filesafety_store::StoreError::Conflict(_)) => {
            Err(ApiError::new(ErrorCode::ScanInProgress, "The scan is running; erase it when it has finished.").about(id))
        }
        Err(error) => Err(error.into()),
    }
}

/// The id of a scan in an address. A malformed one names no scan.
pub(crate) struct ScanPath(pub(crate) ScanId);

impl<S: Send + Sync> FromRequestParts<S> for ScanPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(id)| id.parse().ok());
        id.map(Self).ok_or_else(ApiError::scan_not_found)
    }
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
    if earlier.is_none() && caller.account.quota.is_some() {
        check_quota(state, caller.account.id).await?;
    }
    let submitted = submission::read(state, headers, body, waiting).await?;
    if let Some(earlier) = &earlier {
        return replay(state, caller.account.id, earlier, &submitted.fields_digest(state), submitted.digest().as_ref()).await;
    }
    let fields = submitted.fields_digest(state);
    let idempotency = key.as_ref().map(|key| IdempotencyKey { key: key.key.clone(), fields });
    let new = submitted.new_scan(state, caller, waiting, idempotency);
    let digest = submitted.digest();
    let outcome = match submitted.content {
        Content::File(received) => accept_file(state, headers, Ticket::New(Box::new(new)), received, waiting, key).await,
        Content::Url(url) => accept_url(state, new, url, waiting).await,
        Content::None => upload::invite(state, new).await,
    };
    match outcome {
        // The same key was faster on another connection, or before this one broke off.
        Err(Refusal::Taken(earlier)) => replay(state, caller.account.id, &earlier, &fields, digest.as_ref()).await,
        Err(Refusal::Api(error)) => Err(error),
        Ok(response) => Ok(response),
    }
}

/// Why a submission is not accepted.
pub(crate) enum Refusal {
    Api(ApiError),
    /// An earlier request with the same `Idempotency-Key` made this scan.
    Taken(Earlier),
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Api(error.into())
    }
}

/// The quota as far as it can be known before the bytes are there; it is counted when they are accepted.
pub(crate) async fn check_quota(state: &Shared, account: AccountId) -> Result<(), ApiError> {
    let usage = state.store.usage(account, clock::now()).await?;
    match usage.quota {
        Some(quota) if usage.used >= quota && !usage.overage_allowed => {
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
async fn replay(
    state: &Shared,
    account: AccountId,
    earlier: &Earlier,
    fields: &[u8; 32],
    digest: Option<&Sha256>,
) -> Result<Response, ApiError> {
    let id = submission::same_request(earlier, fields, digest)?;
    let scan = state.store.scan(account, id).await?;
    if scan.status() == ScanState::AwaitingUpload
        && let Some(invitation) = upload::invite_again(state, id).await?
    {
        return Ok(record::replayed(invitation));
    }
    Ok(record::replayed(record::answer(&scan).into_response()))
}

/// A file that is in: deduplicated, judged in memory, or queued.
pub(crate) async fn accept_file(
    state: &Shared,
    headers: &HeaderMap,
    ticket: Ticket,
    received: Received,
    waiting: Waiting,
    key: Option<HeldKey>,
) -> Result<Response, Refusal> {
    let Received { facts, content } = received;
    let id = ticket.id();
    let guard = ticket.has_webhook().then(|| state.gates.close(id));
    let deadline = Instant::now() + state.config.sync_wait;
    let mut key = key.map(HeldKey::into_held);
    let response = match (reusable(state, headers, &ticket, &facts).await?, content) {
        (Some(earlier), _) => reuse(state, ticket, facts, earlier, waiting).await?,
        (None, ReceivedContent::Stored(blob)) => queue(state, ticket, facts, blob, waiting, deadline).await?,
        (None, ReceivedContent::Memory(bytes)) => match state.desk.express(&ticket, &facts, &bytes, &mut key) {
            Some(express) => answer_express(state, id, express, deadline).await?,
            None => {
                let blob = intake::store(&state.store, &bytes).await?;
                queue(state, ticket, facts, blob, waiting, deadline).await?
            }
        },
    };
    drop(key);
    Ok(record::guarded(response, guard))
}

async fn reuse(state: &Shared, ticket: Ticket, facts: FileFacts, earlier: Reusable, waiting: Waiting) -> Result<Response, Refusal> {
    let id = ticket.id();
    let facts = FileFacts { media_type: earlier.file.media_type, ..facts };
    let scan = state.desk.record(ticket, facts, earlier.judgement.into(), true).await.map_err(express_fault)?;
    match waiting {
        Waiting::No => Ok(record::underway(id, ScanState::Pending, Some(0))),
        Waiting::ForTheVerdict => Ok(record::answer(&scan)?),
    }
}

async fn answer_express(state: &Shared, id: ScanId, express: Express, deadline: Instant) -> Result<Response, Refusal> {
    let Express { mut finished, accepted } = express;
    let in_time = async {
        tokio::select! {
            finished = timeout_at(deadline, &mut finished) => finished.ok(),
            () = state.desk.draining() => None,
        }
    };
    let finished = match in_time.await {
        Some(finished) => finished,
        // Once it is in the store there is something to come back for; else its outcome is a matter of moments.
        None if accepted.await.is_ok() => return Ok(record::underway(id, ScanState::Scanning, None)),
        None => finished.await,
    };
    match finished {
        Ok(Ok(scan)) => Ok(record::answer(&scan)?),
        Ok(Err(ExpressFault::Underway)) => Ok(record::underway(id, ScanState::Pending, None)),
        Ok(Err(fault)) => Err(express_fault(fault)),
        Err(_) => Err(ApiError::internal(&"a scan ended without an outcome").into()),
    }
}

async fn queue(
    state: &Shared,
    ticket: Ticket,
    facts: FileFacts,
    blob: Blob,
    waiting: Waiting,
    deadline: Instant,
) -> Result<Response, Refusal> {
    let (id, account) = (ticket.id(), ticket.account());
    let ended = state.desk.ended(id);
    let place = Place::Queue { limit: state.config.intake.queue };
    let accepted = ticket.accept(&state.store, clock::now(), facts, blob, place).await.map_err(upload::store_fault)?;
    check_accepted(accepted)?;
    answer_queued(state, account, id, ended, waiting, deadline).await
}

async fn accept_url(state: &Shared, new: NewScan, url: String, waiting: Waiting) -> Result<Response, Refusal> {
    if !state.config.fetch.enabled {
        return Err(ApiError::validation("url scans are switched off here; send the file itself.").into());
    }
    egress::check_fetch_url(&url, &state.config.fetch.allow_nets).map_err(|error| ApiError::validation(format!("url {error}.")))?;
    let (id, account) = (new.id, new.account);
    let guard = new.webhook.is_some().then(|| state.gates.close(id));
    let ended = state.desk.ended(id);
    let deadline = Instant::now() + state.config.sync_wait;
    let accepted = state.store.accept_url(new, url, Place::Queue { limit: state.config.intake.queue }).await?;
    check_accepted(accepted)?;
    let response = answer_queued(state, account, id, ended, waiting, deadline).await?;
    Ok(record::guarded(response, guard))
}

async fn answer_queued(
    state: &Shared,
    account: AccountId,
    id: ScanId,
    ended: tokio::sync::oneshot::Receiver<()>,
    waiting: Waiting,
    deadline: Instant,
) -> Result<Response, Refusal> {
    match waiting {
        Waiting::No => Ok(record::underway(id, ScanState::Pending, Some(eta(state).await))),
        Waiting::ForTheVerdict => Ok(wait_for(state, account, id, ended, deadline).await?),
    }
}

/// Waits until the scan has ended or the time is up.
async fn wait_for(
    state: &Shared,
    account: AccountId,
    id: ScanId,
    ended: tokio::sync::oneshot::Receiver<()>,
    deadline: Instant,
) -> Result<Response, ApiError> {
    tokio::select! {
        _ = timeout_at(deadline, ended) => {}
        () = state.desk.draining() => {}
    }
    let scan: ScanRecord = state.store.scan(account, id).await?;
    record::answer(&scan)
}

async fn reusable(state: &Shared, headers: &HeaderMap, ticket: &Ticket, facts: &FileFacts) -> Result<Option<Reusable>, ApiError> {
    let fresh_wanted = headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("no-cache"));
    if fresh_wanted || state.config.deduplicate_for == Duration::ZERO {
        return Ok(None);
    }
    let not_before = clock::now().minus(state.config.deduplicate_for);
    // By the engine in force now, which is not always the one in force when an upload URL was made.
    let fingerprint = state.desk.judge.fingerprint(ticket.types(), facts.name.as_deref(), ticket.password());
    Ok(state.store.reuse(ticket.account(), facts.sha256, &fingerprint, not_before).await?)
}

fn check_accepted(accepted: Accepted) -> Result<(), Refusal> {
    match accepted {
        Accepted::Queued | Accepted::Running(_) => Ok(()),
        Accepted::QuotaExceeded(exceeded) => Err(quota_exceeded(&exceeded).into()),
        Accepted::IdempotencyTaken(earlier) => Err(Refusal::Taken(earlier)),
        Accepted::Overloaded => Err(ApiError::overloaded().into()),
    }
}

fn express_fault(fault: ExpressFault) -> Refusal {
    match fault {
        ExpressFault::Quota(exceeded) => quota_exceeded(&exceeded).into(),
        ExpressFault::Idempotency(earlier) => Refusal::Taken(earlier),
        ExpressFault::Overloaded | ExpressFault::Underway => ApiError::overloaded().into(),
        ExpressFault::Store(error) => upload::store_fault(error).into(),
    }
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
