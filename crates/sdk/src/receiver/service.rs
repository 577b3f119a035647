//! A request from its head to its answer.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderValue, Request, StatusCode, header, request::Parts},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::sync::SemaphorePermit;

use super::{
    Core, MAX_BODY, Receiver,
    checks::{Checks, Refusal},
    store::{Acceptance, NewEvent, SignedHeaders},
};
use crate::event::{Event, ScanComplete};

/// Memory for a body is taken in steps of so many KiB.
const ROOM_STEP: usize = 16;

/// The receiver as a tower service.
#[derive(Clone, Debug)]
pub struct Service {
    receiver: Receiver,
}

/// What a webhook that passed came to.
enum Passed {
    Accepted(Acceptance),
    /// `webhook.test`, or an event of a later version.
    NothingToDo,
}

impl Service {
    pub(super) fn new(receiver: Receiver) -> Self {
        Self { receiver }
    }
}

impl<B> tower::Service<Request<B>> for Service
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let receiver = self.receiver.clone();
        Box::pin(async move { Ok(answer(receiver.core(), request).await) })
    }
}

async fn answer<B>(core: &Core, request: Request<B>) -> Response
where
    B: HttpBody<Data = Bytes> + Send,
    B::Error: std::error::Error,
{
    let (parts, body) = request.into_parts();
    match receive(core, &parts, body).await {
        Ok(passed) => {
            core.counters.count_passed(passed.status());
            json(StatusCode::OK, &serde_json::json!({ "status": passed.status() }))
        }
        Err(refusal) => {
            // One line a refusal, without the query: that may hold the token.
            tracing::warn!(status = refusal.status().as_u16(), code = refusal.code(), "webhook refused: {refusal}");
            core.counters.count_refused(refusal.code());
            refused(&refusal)
        }
    }
}

async fn receive<B>(core: &Core, parts: &Parts, body: B) -> Result<Passed, Refusal>
where
    B: HttpBody<Data = Bytes> + Send,
    B::Error: std::error::Error,
{
    Checks::head(&parts.method, &parts.headers)?;
    let read = tokio::time::timeout(core.settings.body_time, read_body(core, body));
    // The room is held until the event is on the disk: the bodies that wait for that are bounded with those that come in.
    let (body, _room) = read.await.map_err(|_| Refusal::TooSlow(core.settings.body_time))??;
    let now = core.now();
    let event = core.checks.content(parts.uri.query(), &parts.headers, &body, to_secs(now))?;
    let scan: &ScanComplete = match &event {
        Event::ScanComplete(scan) => scan,
        Event::ScanVerdictUpdated(update) => &update.scan,
        Event::WebhookTest(test) => {
            tracing::info!(account = %test.account, "webhook.test received");
            return Ok(Passed::NothingToDo);
        }
        Event::Unknown { event } => {
            tracing::info!(event = %event.escape_debug(), "an event of a later version was acknowledged and left alone");
            return Ok(Passed::NothingToDo);
        }
    };
    let new = NewEvent::of(scan, SignedHeaders::of(&parts.headers), body);
    let key = new.key.clone();
    let accepted = core.store.accept(new, core.admission, now).await.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a webhook could not be stored");
        Refusal::StoreUnavailable
    })?;
    match accepted {
        Acceptance::UnknownScan => return Err(Refusal::UnknownScan),
        Acceptance::Stored => core.arrived.notify_one(),
        Acceptance::Superseded | Acceptance::Duplicate => {}
    }
    tracing::debug!(%key, verdict = scan.verdict.as_str(), ?accepted, "webhook received");
    Ok(Passed::Accepted(accepted))
}

/// At most [`MAX_BODY`] bytes.
async fn read_body<B>(core: &Core, body: B) -> Result<(Bytes, SemaphorePermit<'_>), Refusal>
where
    B: HttpBody<Data = Bytes> + Send,
    B::Error: std::error::Error,
{
    let take_room = || core.body_room.try_acquire_many(ROOM_STEP as u32).map_err(|_| Refusal::Overloaded);
    let mut room = take_room()?;
    let mut body = std::pin::pin!(body);
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::BrokenOff)?.into_data() else { continue };
        if whole.len() + data.len() > MAX_BODY {
            return Err(Refusal::TooLarge);
        }
        while whole.len() + data.len() > room.num_permits() * 1024 {
            room.merge(take_room()?);
        }
        whole.extend_from_slice(&data);
    }
    Ok((whole.freeze(), room))
}

impl Passed {
    fn status(&self) -> &'static str {
        match self {
            Self::Accepted(Acceptance::Stored) => "accepted",
            Self::Accepted(Acceptance::Superseded) => "superseded",
            Self::Accepted(Acceptance::Duplicate | Acceptance::UnknownScan) => "duplicate",
            Self::NothingToDo => "ignored",
        }
    }
}

fn refused(refusal: &Refusal) -> Response {
    let mut response = json(refusal.status(), &serde_json::json!({ "error": refusal.to_string(), "code": refusal.code() }));
    if let Some(secs) = refusal.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, secs.into());
    }
    if matches!(refusal, Refusal::MethodNotAllowed(_)) {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn to_secs(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
