//! `GET /v1/usage`.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    auth::Caller,
    error::{ApiError, ErrorBody},
};
use crate::{clock, state::Shared};

/// The account's use of this calendar month, in UTC.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsageView {
    plan: String,
    scans_used: u64,
    /// Null: unlimited.
    scans_quota: Option<u64>,
    /// Scans past the quota.
    overage_scans: u64,
    period_ends: String,
}

/// Scans used and left this month
#[utoipa::path(get, path = "/v1/usage", operation_id = "get_usage", tag = "Account", security(("api_key" = [])),
    responses((status = 200, description = "The account's use", body = UsageView), (status = 401, description = "`invalid_api_key`", body = ErrorBody),
        (status = 429, description = "`rate_limited`", body = ErrorBody)))]
pub(crate) async fn show(State(state): State<Shared>, caller: Caller) -> Result<Json<UsageView>, ApiError> {
    caller.read(&state)?;
    let usage = state.store.usage(caller.account.id, clock::now()).await?;
    Ok(Json(UsageView {
        plan: usage.plan,
        scans_used: usage.used,
        scans_quota: usage.quota,
        overage_scans: usage.overage,
        period_ends: usage.period_ends.to_string(),
    }))
}
