//! The page and the calls for those who run a receiver. For a loopback address: nothing here asks for a password.

mod page;

use axum::{
    Json, Router,
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Receiver,
    pending::PendingError,
    service,
    store::{DeadLetter, EventKey, StoreError, to_millis},
};

/// Dead letters on the page, and in one answer of the list.
const LISTED: usize = 100;

pub(super) fn router(receiver: Receiver) -> Router {
    Router::new()
        .route("/", get(show))
        .route("/pending", post(add_pending))
        .route("/dead", get(list_dead))
        .route("/dead/replay", post(replay))
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(guard))
        .with_state(receiver)
}

async fn guard(request: Request, next: Next) -> Response {
    if let Some(reason) = foreign(&request) {
        return error(StatusCode::FORBIDDEN, "forbidden", reason);
    }
    let mut response = next.run(request).await;
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A name of another host in `Host` is how a web page gets at a loopback address (DNS rebinding); another origin is how it posts to one.
fn foreign(request: &Request) -> Option<&'static str> {
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = request.uri().authority().map(Authority::as_str).or_else(|| text(header::HOST));
    let Some(host) = host.filter(|host| is_loopback(host)) else {
        return Some("this page is for this machine: ask for it as localhost or 127.0.0.1");
    };
    let foreign_origin = text(header::ORIGIN).is_some_and(|origin| !is_origin_of(origin, host));
    let cross_site = text(HeaderName::from_static("sec-fetch-site")) == Some("cross-site") && request.method() != Method::GET;
    (foreign_origin || cross_site).then_some("a page of another site must not call this one")
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())).map_or(host, |(name, _)| name);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn is_origin_of(origin: &str, host: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme).is_some_and(|named| named.eq_ignore_ascii_case(host)))
}

async fn show(State(receiver): State<Receiver>) -> Response {
    let both = async { Ok::<_, StoreError>((receiver.counts().await?, receiver.dead_letters().list(None, LISTED).await?)) };
    match both.await {
        Ok((counts, dead)) => {
            let html = page::render(&receiver, &counts, &dead, receiver.core().now());
            ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
        }
        Err(cause) => unavailable(&cause),
    }
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Pending {
    One { scan_id: String },
    Several { scan_ids: Vec<String> },
}

async fn add_pending(State(receiver): State<Receiver>, body: Result<Json<Pending>, axum::extract::rejection::JsonRejection>) -> Response {
    let ids = match body {
        Ok(Json(Pending::One { scan_id })) => vec![scan_id],
        Ok(Json(Pending::Several { scan_ids })) => scan_ids,
        Err(rejection) => {
            let wanted = "send {\"scan_id\": \"scn_…\"} or {\"scan_ids\": [\"scn_…\"]} as application/json";
            return error(rejection.status(), "validation_error", &format!("{}; {wanted}", rejection.body_text()));
        }
    };
    match receiver.pending().add_all(ids.iter().map(String::as_str)).await {
        Ok(()) => service::json(StatusCode::OK, &json!({ "pending": ids.len() })),
        Err(PendingError::Store(cause)) => unavailable(&cause),
        Err(problem @ (PendingError::BadId(_) | PendingError::TooMany(_))) => {
            error(StatusCode::BAD_REQUEST, "validation_error", &problem.to_string())
        }
    }
}

/// Which event, as the query says it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyQuery {
    scan_id: String,
    event: String,
    sequence: u32,
}

impl From<KeyQuery> for EventKey {
    fn from(query: KeyQuery) -> Self {
        Self { scan_id: query.scan_id, event: query.event, sequence: query.sequence }
    }
}

/// Behind the event that the query names, or from the first.
async fn list_dead(State(receiver): State<Receiver>, uri: Uri) -> Response {
    let after = match uri.query().map(|_| Query::<KeyQuery>::try_from_uri(&uri)).transpose() {
        Ok(after) => after.map(|Query(key)| key.into()),
        Err(rejection) => return error(StatusCode::BAD_REQUEST, "validation_error", &rejection.body_text()),
    };
    match receiver.dead_letters().list(after, LISTED).await {
        Ok(dead) => {
            let next = (dead.len() == LISTED).then(|| dead.last().map(|last| key_json(&last.key)));
            service::json(StatusCode::OK, &json!({ "dead": dead.iter().map(letter_json).collect::<Vec<_>>(), "after": next }))
        }
        Err(cause) => unavailable(&cause),
    }
}

async fn replay(
    State(receiver): State<Receiver>,
    headers: HeaderMap,
    key: Result<Query<KeyQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let key = match key {
        Ok(Query(key)) => EventKey::from(key),
        Err(rejection) => return error(StatusCode::BAD_REQUEST, "validation_error", &rejection.body_text()),
    };
    let from_page = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/html"));
    match receiver.dead_letters().replay(key).await {
        Ok(_) if from_page => (StatusCode::SEE_OTHER, [(header::LOCATION, "./..")]).into_response(),
        Ok(true) => service::json(StatusCode::ACCEPTED, &json!({ "status": "waiting" })),
        Ok(false) => error(StatusCode::NOT_FOUND, "not_found", "there is no such dead letter"),
        Err(cause) => unavailable(&cause),
    }
}

async fn metrics(State(receiver): State<Receiver>) -> Response {
    match receiver.counts().await {
        Ok(counts) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], receiver.metrics().render(&counts)).into_response(),
        Err(cause) => unavailable(&cause),
    }
}

async fn health() -> Response {
    service::json(StatusCode::OK, &json!({ "status": "ok" }))
}

async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "not_found", "there is GET /, POST /pending, GET /dead, POST /dead/replay, GET /metrics and GET /healthz")
}

async fn method_not_allowed() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path wants another method")
}

fn letter_json(letter: &DeadLetter) -> Value {
    json!({
        "scan_id": letter.key.scan_id, "event": letter.key.event, "sequence": letter.key.sequence, "verdict": letter.verdict.as_str(),
        "attempts": letter.attempts, "error": letter.error, "received_at_ms": to_millis(letter.received_at), "died_at_ms": to_millis(letter.died_at),
    })
}

fn key_json(key: &EventKey) -> Value {
    json!({ "scan_id": key.scan_id, "event": key.event, "sequence": key.sequence })
}

fn error(status: StatusCode, code: &str, sentence: &str) -> Response {
    service::json(status, &json!({ "error": sentence, "code": code }))
}

fn unavailable(cause: &StoreError) -> Response {
    tracing::error!(error = cause as &dyn std::error::Error, "the receiver's store cannot be read or written");
    error(StatusCode::SERVICE_UNAVAILABLE, "storage_unavailable", "the receiver's store is unavailable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_served() {
        for host in ["localhost", "LOCALHOST:8091", "127.0.0.1:8091", "127.9.9.9", "[::1]:8091", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "example.com", "localhost.example.com:80", "10.0.0.1", "[::2]:80", "127.0.0.1.example.com", "0.0.0.0:80"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn another_port_is_another_origin() {
        assert!(is_origin_of("http://localhost:8091", "localhost:8091"));
        for origin in ["http://localhost:8092", "https://evil.example", "null", "http://localhost:8091.evil.example"] {
            assert!(!is_origin_of(origin, "localhost:8091"), "{origin}");
        }
    }
}
