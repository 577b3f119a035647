//! `GET /v1/scans`.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use filesafety_store::{Cursor, ListFilter};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    auth::Caller,
    error::{ApiError, ErrorBody},
    record::ScanView,
};
use crate::state::Shared;

/// A stretch of the account's scans.
#[derive(Serialize, ToSchema)]
pub(crate) struct ScanList {
    /// Newest first.
    scans: Vec<ScanView>,
    /// For `cursor`; null at the end.
    next_cursor: Option<String>,
}

const LIMIT_DEFAULT: u32 = 20;
const LIMIT_MAX: u32 = 100;
const METADATA_FILTERS: usize = 16;

/// The account's scans, newest first
///
/// `metadata.<key>=<value>` finds scans by a top-level value of their metadata, compared as text.
#[utoipa::path(get, path = "/v1/scans", operation_id = "list_scans", tag = "Scans", security(("api_key" = [])),
    params(("verdict" = Option<String>, Query, description = "`clean`, `infected`, `nsfw`, `mixed` or `failed`"),
        ("status" = Option<String>, Query, description = "`awaiting_upload`, `pending`, `scanning`, `complete` or `failed`"),
        ("file_hash" = Option<String>, Query, description = "SHA-256 in hex, with or without `sha256:`"),
        ("since" = Option<String>, Query, description = "RFC 3339, inclusive, on `created_at`"),
        ("until" = Option<String>, Query, description = "RFC 3339, exclusive, on `created_at`"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "20 by default"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the answer before")),
    responses((status = 200, description = "The scans", body = ScanList), (status = 400, description = "`validation_error`", body = ErrorBody),
        (status = 401, description = "`invalid_api_key`", body = ErrorBody), (status = 429, description = "`rate_limited`", body = ErrorBody)))]
pub(crate) async fn list(State(state): State<Shared>, caller: Caller, RawQuery(query): RawQuery) -> Result<Json<ScanList>, ApiError> {
    caller.read(&state)?;
    let filter = filter(query.as_deref().unwrap_or_default())?;
    let page = state.store.scans(caller.account.id, filter).await?;
    Ok(Json(ScanList { scans: page.scans.iter().map(ScanView::of).collect(), next_cursor: page.next.map(|cursor| cursor.to_string()) }))
}

fn filter(query: &str) -> Result<ListFilter, ApiError> {
    let mut filter = ListFilter { limit: LIMIT_DEFAULT, ..ListFilter::default() };
    let mut seen = std::collections::HashSet::new();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if !seen.insert(key.clone()) {
            return Err(ApiError::validation(format!("{key} is given twice.")));
        }
        let refuse = |problem: &str| ApiError::validation(format!("{key} {problem}."));
        match key.as_ref() {
            "verdict" => filter.verdict = Some(value.parse().map_err(|()| refuse("must be clean, infected, nsfw, mixed or failed"))?),
            "status" => {
                filter.status = Some(value.parse().map_err(|()| refuse("must be awaiting_upload, pending, scanning, complete or failed"))?)
            }
            "file_hash" => filter.file_hash = Some(value.parse().map_err(|_| refuse("must be a SHA-256 of 64 hex digits"))?),
            "since" => filter.since = Some(value.parse().map_err(|_| refuse("must be an RFC 3339 time such as 2026-01-31T12:00:00Z"))?),
            "until" => filter.until = Some(value.parse().map_err(|_| refuse("must be an RFC 3339 time such as 2026-01-31T12:00:00Z"))?),
            "limit" => {
                filter.limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                    .ok_or_else(|| refuse("must be a number from 1 to 100"))?
            }
            "cursor" => filter.cursor = Some(value.parse::<Cursor>().map_err(|_| refuse("must be the next_cursor of an earlier answer"))?),
            other => match other.strip_prefix("metadata.") {
                Some(name) if !name.is_empty() && filter.metadata.len() < METADATA_FILTERS => {
                    filter.metadata.push((name.to_owned(), value.into_owned()))
                }
                Some(name) if !name.is_empty() => return Err(refuse("is one metadata filter too many")),
                Some(_) | None => {
                    return Err(refuse(
                        "is no filter; there are verdict, status, file_hash, since, until, metadata.<key>, limit and cursor",
                    ));
                }
            },
        }
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_filter() {
        let filter = filter("verdict=clean&limit=5&metadata.upload+id=a%26b&since=2026-01-01T00:00:00Z").unwrap();
        assert_eq!((filter.limit, filter.metadata), (5, vec![("upload id".to_owned(), "a&b".to_owned())]));
        assert!(filter.since.is_some());
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for query in [
            "verdict=ok",
            "status=done",
            "file_hash=1",
            "since=yesterday",
            "limit=0",
            "limit=101",
            "cursor=x",
            "colour=red",
            "metadata.=1",
            "limit=1&limit=2",
        ] {
            assert!(filter(query).is_err(), "{query}");
        }
    }
}
