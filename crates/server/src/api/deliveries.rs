//! What became of a scan's webhook, and the calls that send it again.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use filesafety_store::{AttemptError, AttemptRecord, AttemptView, Conflict, PlannedAttempt, Postponed, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    auth::Caller,
    error::{ApiError, ErrorBody, ErrorCode},
    scan::{ScanPath, json_response},
    submission,
};
use crate::{clock, egress, intake::PacedBody, state::Shared};

/// Every attempt to tell of a scan, and those that are planned.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeliveryList {
    /// Oldest first; at the end, what is still to be tried.
    deliveries: Vec<AttemptShown>,
}

/// One HTTP try, made or planned.
#[derive(Serialize, ToSchema)]
pub(crate) struct AttemptShown {
    /// The `webhook-id`, the same for every attempt.
    event_id: Option<String>,
    event: String,
    /// From 1.
    attempt: u32,
    /// Null while it is only planned.
    attempted_at: Option<String>,
    /// When it is to be made, not sooner; null once it was.
    planned_at: Option<String>,
    /// Why a planned attempt is not made when it is due; null where nothing holds it.
    postponed: Option<PostponedShown>,
    /// Without its query, which may hold a token.
    url: String,
    /// Where the connection went.
    address: Option<String>,
    /// The version of TLS that was spoken, `1.3` or `1.2`; null where none was.
    tls_version: Option<String>,
    /// The HTTP status; null where none came.
    status: Option<u16>,
    milliseconds: Option<u64>,
    delivered: bool,
    error: Option<AttemptErrorShown>,
    /// The head of the answer's body, as text: at most 1 KiB.
    response: String,
    /// Null when there is to be none.
    next_attempt_at: Option<String>,
}

/// Why an attempt waits.
#[derive(Serialize, ToSchema)]
pub(crate) struct PostponedShown {
    /// `circuit_open`: attempts at this host and port keep failing, and only a probe every 10 s goes there; at most for a minute.
    /// `earlier_event`: an earlier event of the scan is still to be delivered.
    reason: &'static str,
    message: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AttemptErrorShown {
    /// `dns`, `address_refused`, `connect`, `tls`, `tls_expired`, `tls_untrusted`, `tls_name`, `timeout`, `reset`, `protocol`, `status`, `no_secret`, `interrupted`.
    kind: String,
    message: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Redelivery {
    scan_id: String,
    /// `pending`.
    status: &'static str,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestRequest {
    webhook_url: String,
}

/// Every attempt to deliver a scan's webhook, and what is planned
#[utoipa::path(get, path = "/v1/scan/{id}/deliveries", operation_id = "list_deliveries", tag = "Webhooks", security(("api_key" = [])), params(("id" = String, Path, description = "The scan's id, `scn_…`")),
    responses((status = 200, description = "The attempts", body = DeliveryList), (status = 401, description = "`invalid_api_key`", body = ErrorBody),
        (status = 404, description = "`scan_not_found`", body = ErrorBody), (status = 429, description = "`rate_limited`", body = ErrorBody)))]
pub(crate) async fn list(State(state): State<Shared>, caller: Caller, ScanPath(id): ScanPath) -> Result<Json<DeliveryList>, ApiError> {
    caller.read(&state)?;
    let log = state.store.deliveries(caller.account.id, id).await?;
    let deliveries = log.attempts.iter().map(AttemptShown::of).chain(log.planned.iter().map(AttemptShown::planned)).collect();
    Ok(Json(DeliveryList { deliveries }))
}

/// Send a scan's webhook again
///
/// One attempt now and a fresh schedule, also after `abandoned`.
#[utoipa::path(post, path = "/v1/scan/{id}/redeliver", operation_id = "redeliver", tag = "Webhooks", security(("api_key" = [])), params(("id" = String, Path, description = "The scan's id, `scn_…`")),
    responses((status = 202, description = "An attempt is on its way", body = Redelivery), (status = 401, description = "`invalid_api_key`", body = ErrorBody),
        (status = 404, description = "`scan_not_found`", body = ErrorBody), (status = 409, description = "`no_webhook`, `delivery_in_progress`, `scan_in_progress`", body = ErrorBody),
        (status = 429, description = "`rate_limited`", body = ErrorBody)))]
pub(crate) async fn redeliver(State(state): State<Shared>, caller: Caller, ScanPath(id): ScanPath) -> Result<Response, ApiError> {
    caller.read(&state)?;
    let conflict = |code, message: &str| Err(ApiError::new(code, message).about(id));
    match state.store.redeliver(caller.account.id, id, clock::now()).await {
        Ok(_) => {
            state.deliverer.wake();
            Ok(json_response(StatusCode::ACCEPTED, Redelivery { scan_id: id.to_string(), status: "pending" }))
        }
        Err(StoreError::Conflict(Conflict::NoWebhook)) => conflict(ErrorCode::NoWebhook, "The scan was submitted without a webhook_url."),
        Err(StoreError::Conflict(Conflict::ScanInProgress)) => {
            conflict(ErrorCode::ScanInProgress, "The scan has not finished; its webhook follows when it has.")
        }
        Err(StoreError::Conflict(_)) => conflict(ErrorCode::DeliveryInProgress, "The webhook is being delivered at this moment."),
        Err(error) => Err(error.into()),
    }
}

/// Send a signed `webhook.test` and see what came of it
#[utoipa::path(post, path = "/v1/webhooks/test", operation_id = "test_webhook", tag = "Webhooks", security(("api_key" = [])), request_body = TestRequest,
    responses((status = 200, description = "The attempt, delivered or not", body = AttemptShown), (status = 400, description = "`validation_error`", body = ErrorBody),
        (status = 401, description = "`invalid_api_key`", body = ErrorBody), (status = 415, description = "`unsupported_media_type`", body = ErrorBody),
        (status = 429, description = "`rate_limited`", body = ErrorBody)))]
pub(crate) async fn test(
    State(state): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AttemptShown>, ApiError> {
    caller.submit(&state)?;
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType, "Send application/json with a webhook_url."));
    }
    let bytes = submission::read_small(PacedBody::new(body, &state.config.intake)).await?;
    let request: TestRequest =
        serde_json::from_slice(&bytes).map_err(|error| ApiError::validation(format!("The JSON body is not valid: {error}.")))?;
    let target = state.fields().webhook_url(&request.webhook_url)?;
    let attempt = state.deliverer.send_test(caller.account.id, &target).await?;
    Ok(Json(AttemptShown::of_test(&target.url, &attempt)))
}

impl AttemptShown {
    pub(super) fn of(attempt: &AttemptView) -> Self {
        Self {
            event_id: Some(attempt.event.to_string()),
            event: attempt.event_name.clone(),
            attempt: attempt.number,
            attempted_at: Some(attempt.started_at.to_string()),
            planned_at: None,
            postponed: None,
            url: egress::without_query(&attempt.target.url),
            address: attempt.address.clone(),
            tls_version: attempt.tls.clone(),
            status: attempt.status,
            milliseconds: attempt.millis,
            delivered: attempt.error.is_none() && attempt.status.is_some_and(|status| (200..300).contains(&status)),
            error: attempt.error.as_ref().map(AttemptErrorShown::of),
            response: String::from_utf8_lossy(&attempt.response_head).into_owned(),
            next_attempt_at: attempt.next_attempt_at.map(|time| time.to_string()),
        }
    }

    fn planned(planned: &PlannedAttempt) -> Self {
        Self {
            event_id: Some(planned.event.to_string()),
            event: planned.event_name.clone(),
            attempt: planned.number,
            attempted_at: None,
            planned_at: Some(planned.at.to_string()),
            postponed: planned.postponed.map(PostponedShown::of),
            url: egress::without_query(&planned.target.url),
            address: None,
            tls_version: None,
            status: None,
            milliseconds: None,
            delivered: false,
            error: None,
            response: String::new(),
            next_attempt_at: None,
        }
    }

    fn of_test(url: &str, attempt: &AttemptRecord) -> Self {
        Self {
            event_id: None,
            event: crate::announce::WEBHOOK_TEST.to_owned(),
            attempt: 1,
            attempted_at: Some(attempt.started_at.to_string()),
            planned_at: None,
            postponed: None,
            url: egress::without_query(url),
            address: attempt.address.clone(),
            tls_version: attempt.tls.clone(),
            status: attempt.status,
            milliseconds: Some(attempt.millis),
            delivered: attempt.error.is_none(),
            error: attempt.error.as_ref().map(AttemptErrorShown::of),
            response: String::from_utf8_lossy(&attempt.response_head).into_owned(),
            next_attempt_at: None,
        }
    }
}

impl AttemptErrorShown {
    fn of(error: &AttemptError) -> Self {
        Self { kind: error.kind.clone(), message: error.text.clone() }
    }
}

impl PostponedShown {
    pub(super) fn of(postponed: Postponed) -> Self {
        match postponed {
            Postponed::Circuit => {
                Self { reason: "circuit_open", message: "Attempts at this host and port keep failing; a probe leaves every 10 s." }
            }
            Postponed::EarlierEvent => {
                Self { reason: "earlier_event", message: "An earlier event of the scan is still to be delivered or abandoned." }
            }
        }
    }
}
