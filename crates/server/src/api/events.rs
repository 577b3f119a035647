//! `GET /v1/events`: the account's events as they happen (server-sent events, HTML standard section 9.2).

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use filesafety_model::{AccountId, EventId};
use filesafety_store::{After, EventRecord};
use http_body::Frame;
use tokio::sync::mpsc;

use super::{
    auth::Caller,
    error::{ApiError, ErrorBody},
};
use crate::{clock, state::Shared};

/// Events older than this are not resumed.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
const PAGE: u32 = 100;
/// A comment at least so often keeps proxies from closing the stream.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Chunks on their way to one slow reader.
const BUFFERED: usize = 16;

/// The account's events as they happen
///
/// Server-sent events: `id` is the event's id, `event` its name, `data` the webhook's body. `Last-Event-ID` resumes for 24 h;
/// where events may be missing, the first is called `gap`.
#[utoipa::path(get, path = "/v1/events", operation_id = "stream_events", tag = "Webhooks", security(("api_key" = [])), params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event seen")),
    responses((status = 200, description = "The stream", content_type = "text/event-stream", body = String), (status = 401, description = "`invalid_api_key`", body = ErrorBody),
        (status = 429, description = "`rate_limited`", body = ErrorBody)))]
pub(crate) async fn stream(State(state): State<Shared>, caller: Caller, headers: HeaderMap) -> Result<Response, ApiError> {
    caller.read(&state)?;
    let account = caller.account.id;
    let asked = headers.get("last-event-id").map(|value| value.to_str().ok().and_then(|text| text.parse::<EventId>().ok()));
    let (sender, receiver) = mpsc::channel(BUFFERED);
    let start = match asked {
        Some(id) => Start::Resume(id),
        None => Start::Now(After::Place(state.store.newest_place(account).await?)),
    };
    tokio::spawn(async move {
        // Ends when the reader is gone; the store's faults end the stream, and the reader resumes.
        let _ = feed(&state, account, start, &sender).await;
    });
    let mut response = Response::new(Body::new(Chunks(receiver)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

enum Start {
    /// After the event asked for; `None`: an id that is none.
    Resume(Option<EventId>),
    Now(After),
}

struct Gone;

async fn feed(state: &Shared, account: AccountId, start: Start, sender: &mpsc::Sender<Bytes>) -> Result<(), Gone> {
    let mut changed = state.store.signals().events;
    send(sender, Bytes::from_static(b": connected\n\n")).await?;
    let mut after = match start {
        Start::Now(after) => after,
        Start::Resume(Some(id)) => After::Event(id),
        Start::Resume(None) => {
            send(sender, gap()).await?;
            After::Place(state.store.newest_place(account).await.map_err(|_| Gone)?)
        }
    };
    loop {
        if state.desk.is_draining() {
            return Err(Gone);
        }
        changed.mark_unchanged();
        let page = state.store.events_since(account, after, clock::now().minus(KEPT), PAGE).await.map_err(|_| Gone)?;
        if page.gap {
            send(sender, gap()).await?;
        }
        // Not the event's id: its scan may be erased before the next look.
        after = After::Place(page.place);
        let full = page.events.len() == PAGE as usize;
        for event in page.events {
            send(sender, frame(&event)).await?;
        }
        if full {
            continue;
        }
        tokio::select! {
            // The reader resumes at the next start.
            () = state.desk.draining() => return Err(Gone),
            changed = tokio::time::timeout(HEARTBEAT, changed.changed()) => if let Ok(Ok(())) = changed {
                continue;
            },
        }
        send(sender, Bytes::from_static(b": still here\n\n")).await?;
    }
}

async fn send(sender: &mpsc::Sender<Bytes>, bytes: Bytes) -> Result<(), Gone> {
    sender.send(bytes).await.map_err(|_| Gone)
}

fn gap() -> Bytes {
    Bytes::from_static(b"event: gap\ndata: {\"event\":\"gap\"}\n\n")
}

/// The body is JSON on one line, so one `data` line holds it.
fn frame(event: &EventRecord) -> Bytes {
    format!("id: {}\nevent: {}\ndata: {}\n\n", event.id, event.name, event.body.replace(['\r', '\n'], " ")).into()
}

/// The chunks of a stream as a body.
struct Chunks(mpsc::Receiver<Bytes>);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
    }
}
