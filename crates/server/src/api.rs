//! The HTTP API: its routes, and what goes around every one of them.

pub(crate) mod auth;
mod deliveries;
mod delivery_list;
mod docs;
pub(crate) mod error;
pub(crate) mod events;
mod health;
pub(crate) mod openapi;
pub(crate) mod rate;
mod record;
mod scan;
mod scans;
mod submission;
mod upload;
mod usage;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, Method, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get, post, put},
};

use crate::state::Shared;
use error::{ApiError, ErrorCode, finish_answer};

/// Every route of the service.
pub(crate) fn router(state: Shared) -> Router {
    let routes = [
        ("/v1/scan", "POST", post(scan::submit)),
        ("/v1/scan/async", "POST", post(scan::submit_async)),
        ("/v1/scan/{id}", "GET, HEAD, DELETE", get(scan::show).delete(scan::delete)),
        ("/v1/scan/{id}/deliveries", "GET, HEAD", get(deliveries::list)),
        ("/v1/scan/{id}/redeliver", "POST", post(deliveries::redeliver)),
        ("/v1/scans", "GET, HEAD", get(scans::list)),
        ("/v1/deliveries", "GET, HEAD", get(delivery_list::list)),
        ("/v1/uploads/{id}/{token}", "PUT, OPTIONS", put(upload::put).options(upload::preflight)),
        ("/v1/webhooks/test", "POST", post(deliveries::test)),
        ("/v1/usage", "GET, HEAD", get(usage::show)),
        ("/v1/events", "GET", get(events::stream)),
        ("/healthz", "GET, HEAD", get(health::live)),
        ("/readyz", "GET, HEAD", get(health::ready)),
        ("/metrics", "GET, HEAD", get(health::metrics)),
        ("/openapi.json", "GET, HEAD", get(openapi::show)),
        ("/docs", "GET, HEAD", get(docs::page)),
        ("/docs/{file}", "GET, HEAD", get(docs::file)),
    ];
    routes
        .into_iter()
        .fold(Router::new(), |router, (path, methods, handlers): (_, _, MethodRouter<Shared>)| {
            router.route(path, handlers.fallback(move || method_not_allowed(methods)))
        })
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(state.clone(), count))
        .layer(middleware::from_fn(finish_answer))
        .layer(middleware::from_fn(add_security_headers))
        .layer(middleware::map_request(async |request: Request| crate::intake::drain_when_dropped(request)))
        .with_state(state)
}

/// `/metrics` alone, for the address that serves it to others than this machine.
pub(crate) fn metrics_router(state: Shared) -> Router {
    Router::new()
        .route("/metrics", get(async |State(state): State<Shared>| health::render(&state).await))
        .fallback(not_found)
        .layer(middleware::from_fn(finish_answer))
        .with_state(state)
}

async fn not_found() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "There is nothing at this address; /docs lists what there is.")
}

async fn method_not_allowed(methods: &'static str) -> ApiError {
    ApiError::new(ErrorCode::MethodNotAllowed, format!("This address takes {methods}.")).allow(HeaderValue::from_static(methods))
}

async fn add_security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn count(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let is_read = request.method() == Method::GET || request.method() == Method::HEAD;
    let response = next.run(request).await.into_response();
    state.metrics.count_request(is_read, response.status());
    response
}
