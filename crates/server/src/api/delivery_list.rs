//! `GET /v1/deliveries`.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use filesafety_store::{DeliveryFilter, DeliveryView};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    auth::Caller,
    deliveries::{AttemptShown, PostponedShown},
    error::{ApiError, ErrorBody},
};
use crate::{egress, state::Shared};

/// A stretch of the account's deliveries.
#[derive(Serialize, ToSchema)]
pub(crate) struct AccountDeliveries {
    /// Newest first.
    deliveries: Vec<DeliveryShown>,
    /// For `cursor`; null at the end.
    next_cursor: Option<String>,
}

/// One event on its way to one URL.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeliveryShown {
    #[schema(example = "dlv_01JD3Q8Z2M6T9V4W7X0Y1Z2A3B")]
    delivery_id: String,
    scan_id: String,
    /// The `webhook-id`, the same for every attempt.
    event_id: String,
    event: String,
    /// Of the scan's events, from 1.
    sequence: u32,
    /// Without its query, which may hold a token.
    url: String,
    /// `pending`, `delivering`, `delivered` or `abandoned`.
    status: &'static str,
    /// Made so far, over all schedules.
    attempts: u32,
    created_at: String,
    /// While it is pending; not sooner.
    next_attempt_at: Option<String>,
    /// Why the next attempt is not made when it is due; null where nothing holds it.
    postponed: Option<PostponedShown>,
    /// Whether a later event of the scan followed. Only the newest is delivered again.
    superseded: bool,
    last_attempt: Option<AttemptShown>,
}

const LIMIT_DEFAULT: u32 = 20;
const LIMIT_MAX: u32 = 100;

/// The account's deliveries, newest first
#[utoipa::path(get, path = "/v1/deliveries", operation_id = "list_account_deliveries", tag = "Webhooks", security(("api_key" = [])),
    params(("status" = Option<String>, Query, description = "`pending`, `delivering`, `delivered` or `abandoned`"),
        ("since" = Option<String>, Query, description = "RFC 3339, inclusive, on `created_at`"),
        ("until" = Option<String>, Query, description = "RFC 3339, exclusive, on `created_at`"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "20 by default"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the answer before")),
    responses((status = 200, description = "The deliveries", body = AccountDeliveries), (status = 400, description = "`validation_error`", body = ErrorBody),
        (status = 401, description = "`invalid_api_key`", body = ErrorBody), (status = 429, description = "`rate_limited`", body = ErrorBody)))]
pub(crate) async fn list(
    State(state): State<Shared>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Json<AccountDeliveries>, ApiError> {
    caller.read(&state)?;
    let filter = filter(query.as_deref().unwrap_or_default())?;
    let page = state.store.delivery_list(caller.account.id, filter).await?;
    let deliveries = page.deliveries.iter().map(DeliveryShown::of).collect();
    Ok(Json(AccountDeliveries { deliveries, next_cursor: page.next.map(|cursor| cursor.to_string()) }))
}

fn filter(query: &str) -> Result<DeliveryFilter, ApiError> {
    let mut filter = DeliveryFilter { limit: LIMIT_DEFAULT, ..DeliveryFilter::default() };
    let mut seen = std::collections::HashSet::new();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if !seen.insert(key.clone()) {
            return Err(ApiError::validation(format!("{key} is given twice.")));
        }
        let refuse = |problem: &str| ApiError::validation(format!("{key} {problem}."));
        let time = || value.parse().map_err(|_| refuse("must be an RFC 3339 time such as 2026-01-31T12:00:00Z"));
        match key.as_ref() {
            "status" => filter.status = Some(value.parse().map_err(|()| refuse("must be pending, delivering, delivered or abandoned"))?),
            "since" => filter.since = Some(time()?),
            "until" => filter.until = Some(time()?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                filter.limit = limit.ok_or_else(|| refuse("must be a number from 1 to 100"))?;
            }
            "cursor" => filter.cursor = Some(value.parse().map_err(|_| refuse("must be the next_cursor of an earlier answer"))?),
            _ => return Err(refuse("is no filter; there are status, since, until, limit and cursor")),
        }
    }
    Ok(filter)
}

impl DeliveryShown {
    fn of(delivery: &DeliveryView) -> Self {
        let next = delivery.next.as_ref();
        Self {
            delivery_id: delivery.id.to_string(),
            scan_id: delivery.scan.to_string(),
            event_id: delivery.event.to_string(),
            event: delivery.event_name.clone(),
            sequence: delivery.sequence,
            url: egress::without_query(&delivery.target.url),
            status: delivery.status.as_str(),
            attempts: delivery.attempts,
            created_at: delivery.created_at.to_string(),
            next_attempt_at: next.map(|next| next.at.to_string()),
            postponed: next.and_then(|next| next.postponed).map(PostponedShown::of),
            superseded: delivery.superseded,
            last_attempt: delivery.last.as_ref().map(AttemptShown::of),
        }
    }
}

#[cfg(test)]
mod tests {
    use filesafety_store::DeliveryStatus;

    use super::*;

    #[test]
    fn reads_every_filter() {
        let filter = filter("status=abandoned&since=2026-01-01T00:00:00Z&until=2026-02-01T00:00:00Z&limit=5").unwrap();
        assert_eq!((filter.status, filter.limit), (Some(DeliveryStatus::Abandoned), 5));
        assert!(filter.since < filter.until);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for query in ["status=failed", "since=yesterday", "limit=0", "limit=101", "cursor=x", "host=a.example", "limit=1&limit=2"] {
            assert!(filter(query).is_err(), "{query}");
        }
    }
}
