//! Upload URLs: `PUT` needs no key, comes from any origin, and can be repeated until a complete body arrived.

use axum::{
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use filesafety_model::{ScanId, ScanState, Timestamp};
use filesafety_store::{Awaiting, Conflict, NewScan, StateRecord, StoreError, UploadSlot};
use serde::Serialize;
use sha2::Digest as _;
use utoipa::ToSchema;

use super::{
    error::{ApiError, ErrorBody, ErrorCode},
    record::{ScanView, Underway},
    scan::{self, Refusal},
    submission::Waiting,
};
use crate::{
    clock,
    intake::{Intake, IntakeFault, PacedBody, Received},
    state::Shared,
    worker::ticket::Ticket,
};

const FILE_NAME: &str = "x-file-name";

/// Where to send the file, and until when.
#[derive(Serialize, ToSchema)]
pub(crate) struct UploadInvitation {
    scan_id: String,
    /// `awaiting_upload`.
    status: &'static str,
    /// `PUT` the file's bytes here; no key is asked for.
    upload_url: String,
    expires_at: String,
}

/// Opens an upload URL for `new`.
pub(crate) async fn invite(state: &Shared, new: NewScan) -> Result<Response, Refusal> {
    let token = state.store.upload_token(new.id);
    let expires_at = new.created_at.plus(state.config.intake.upload_url_life);
    let id = new.id;
    match state.store.await_upload(new, token_digest(&token), expires_at, state.config.intake.open_uploads).await? {
        Awaiting::Awaiting => {}
        Awaiting::IdempotencyTaken(earlier) => return Err(Refusal::Taken(earlier)),
        Awaiting::TooManyOpen => {
            let message =
                format!("The account has {} upload URLs open; use them, or wait until they expire.", state.config.intake.open_uploads);
            return Err(ApiError::new(ErrorCode::RateLimited, message).retry_after(60).into());
        }
    }
    Ok(invitation(state, id, &token, expires_at))
}

/// The same invitation once more, for who asks again under one `Idempotency-Key`. `None` when the URL is used up, has expired, or is of
/// a build that made tokens otherwise.
pub(crate) async fn invite_again(state: &Shared, scan: ScanId) -> Result<Option<Response>, ApiError> {
    let token = state.store.upload_token(scan);
    match state.store.upload_slot(scan, token_digest(&token), clock::now()).await? {
        UploadSlot::Open(record) => match record.state {
            StateRecord::AwaitingUpload { expires_at } => Ok(Some(invitation(state, scan, &token, expires_at))),
            StateRecord::Pending | StateRecord::Scanning | StateRecord::Finished { .. } => Ok(None),
        },
        UploadSlot::Used(_) | UploadSlot::Expired(_) | UploadSlot::Unknown => Ok(None),
    }
}

fn invitation(state: &Shared, scan: ScanId, token: &str, expires_at: Timestamp) -> Response {
    let invitation = UploadInvitation {
        scan_id: scan.to_string(),
        status: ScanState::AwaitingUpload.as_str(),
        upload_url: format!("{}/v1/uploads/{scan}/{token}", state.public_url),
        expires_at: expires_at.to_string(),
    };
    scan::json_response(StatusCode::CREATED, invitation)
}

/// Send the bytes of a scan that waits for them
///
/// The URL is the secret: no key is asked for, and any origin may send. Only a complete body uses it up.
#[utoipa::path(put, path = "/v1/uploads/{id}/{token}", operation_id = "upload", tag = "Uploads", params(("id" = String, Path, description = "From the upload URL"), ("token" = String, Path, description = "From the upload URL"),
        ("x-file-name" = Option<String>, Header, description = "What the file is called: UTF-8 with percent escapes, as `encodeURIComponent` writes it")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The file"),
    responses((status = 200, description = "The result", body = ScanView), (status = 202, description = "Still scanning", body = Underway), (status = 400, description = "`validation_error`: the body broke off, or `x-file-name` is no UTF-8", body = ErrorBody),
        (status = 404, description = "`not_found`", body = ErrorBody), (status = 408, description = "`upload_too_slow`", body = ErrorBody), (status = 409, description = "`upload_conflict`: used already", body = ErrorBody),
        (status = 410, description = "`upload_expired`", body = ErrorBody), (status = 413, description = "`file_too_large`", body = ErrorBody), (status = 429, description = "`quota_exceeded`", body = ErrorBody),
        (status = 502, description = "`upstream_error`", body = ErrorBody), (status = 503, description = "`overloaded`, `storage_unavailable`", body = ErrorBody)))]
pub(crate) async fn put(
    State(state): State<Shared>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let waiting = scan::waiting_wanted(&headers);
    // A path that cannot be read names no upload URL.
    let (id, token) = path.map(|Path(parts)| parts).unwrap_or_default();
    let response = match take(&state, &id, &token, &headers, body, waiting).await {
        Ok(response) => response,
        Err(Refusal::Api(error)) => error.into_response(),
        Err(Refusal::Taken(_)) => ApiError::internal(&"an upload met an idempotency key").into_response(),
    };
    with_any_origin(response)
}

/// The browser's question before a `PUT` from another origin.
pub(crate) async fn preflight() -> Response {
    let mut response = with_any_origin(StatusCode::NO_CONTENT.into_response());
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("PUT"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type, prefer, cache-control, x-file-name"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

fn with_any_origin(mut response: Response) -> Response {
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("x-request-id, retry-after"));
    response
}

async fn take(state: &Shared, id: &str, token: &str, headers: &HeaderMap, body: Body, waiting: Waiting) -> Result<Response, Refusal> {
    let unknown = || ApiError::new(ErrorCode::NotFound, "There is no such upload URL.");
    let id = id.parse().map_err(|_| unknown())?;
    if state.desk.is_draining() {
        return Err(ApiError::draining().into());
    }
    let record = match state.store.upload_slot(id, token_digest(token), clock::now()).await? {
        UploadSlot::Open(record) => record,
        UploadSlot::Used(_) => return Err(ApiError::new(ErrorCode::UploadConflict, "A file was uploaded here already.").about(id).into()),
        UploadSlot::Expired(_) => {
            return Err(ApiError::new(ErrorCode::UploadExpired, "This upload URL has expired; ask for a new one.").about(id).into());
        }
        UploadSlot::Unknown => return Err(unknown().into()),
    };
    state.check_length(headers, 0)?;
    scan::check_quota(state, record.account).await?;
    let name = file_name(headers).map_err(|error| error.about(id))?.or_else(|| record.file_name.clone());
    let received = read(state, body, name, waiting).await?;
    scan::accept_file(state, headers, Ticket::Upload(record), received, waiting, None).await
}

/// What the sender calls the file: UTF-8 with percent escapes, since a header takes nothing but ASCII.
fn file_name(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(FILE_NAME) else { return Ok(None) };
    let name = percent_encoding::percent_decode(value.as_bytes()).decode_utf8();
    let name =
        name.map_err(|_| ApiError::validation("x-file-name must be UTF-8 with percent escapes, as encodeURIComponent writes it."))?;
    Ok(Some(name.into_owned()).filter(|name| !name.is_empty()))
}

async fn read(state: &Shared, body: Body, name: Option<String>, waiting: Waiting) -> Result<Received, ApiError> {
    let fault = |fault| match fault {
        IntakeFault::TooLarge => ApiError::file_too_large(state.config.intake.file),
        IntakeFault::Store(error) => error.into(),
    };
    let mut body = PacedBody::new(body, &state.config.intake);
    let mut intake = Intake::new(state.store.clone(), state.config.intake.file, state.config.intake.in_memory);
    while let Some(chunk) = body.next().await? {
        intake.push(&chunk).await.map_err(fault)?;
    }
    intake.finish(name, waiting == Waiting::No).await.map_err(fault)
}

/// A store's refusal of an upload's bytes.
pub(crate) fn store_fault(error: StoreError) -> ApiError {
    match error {
        StoreError::Conflict(Conflict::UploadUsed) => ApiError::new(ErrorCode::UploadConflict, "A file was uploaded here already."),
        StoreError::Conflict(Conflict::UploadExpired) => {
            ApiError::new(ErrorCode::UploadExpired, "This upload URL has expired; ask for a new one.")
        }
        other => other.into(),
    }
}

fn token_digest(token: &str) -> [u8; 32] {
    sha2::Sha256::digest(token).into()
}
