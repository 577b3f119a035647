//! `GET /v1/events`: the account's events as they happen (server-sent events, HTML standard section 9.2).

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
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
use filesafety_store::{After, EventRecord, Store};
use http_body::Frame;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    auth::Caller,
    error::{ApiError, ErrorBody, ErrorCode},
};
use crate::{clock, state::Shared};

/// Events older than this are not resumed.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Events in memory for one reader, of up to 64 KiB each.
const PAGE: u32 = 20;
/// A sign of life at least so often keeps proxies from closing the stream.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A key that was revoked is noticed so often.
const LOOK_AT_KEY: Duration = Duration::from_secs(1);
/// Chunks on their way to one slow reader.
const BUFFERED: usize = 16;
/// Streams that one account has open at once.
const STREAMS: u32 = 100;

/// The account's events as they happen
///
/// Server-sent events: `id` is the event's id, `event` its name, `data` the webhook's body. After what there is, and with each sign of
/// life, comes an `id` without an event: a place to resume at. `Last-Event-ID` resumes for 24 h, at an event or at such a place; where
/// events may be missing, the first is called `gap`.
#[utoipa::path(get, path = "/v1/events", operation_id = "stream_events", tag = "Webhooks", security(("api_key" = [])), params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event seen")),
    responses((status = 200, description = "The stream", content_type = "text/event-stream", body = String), (status = 401, description = "`invalid_api_key`", body = ErrorBody),
        (status = 429, description = "`rate_limited`", body = ErrorBody)))]
pub(crate) async fn stream(State(state): State<Shared>, caller: Caller, headers: HeaderMap) -> Result<Response, ApiError> {
    caller.read(&state)?;
    let account = caller.account.id;
    let open = state.streams.open(account).ok_or_else(too_many)?;
    let key = headers.get("x-api-key").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (sender, receiver) = mpsc::channel(BUFFERED);
    let start = match headers.get("last-event-id") {
        Some(value) => Start::Resume(value.to_str().ok().and_then(|text| place_named(&state.store, account, text))),
        None => Start::Now(After::Place(state.store.newest_place(account).await?)),
    };
    let reader = Reader { account, key, sender, _open: open };
    // Ends when the reader is gone; the store's faults end the stream, and the reader resumes.
    tokio::spawn(async move { feed(&state, &reader, start).await });
    let mut response = Response::new(Body::new(Chunks(receiver)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn too_many() -> ApiError {
    ApiError::new(ErrorCode::RateLimited, format!("The account has {STREAMS} event streams open; close one.")).retry_after(10)
}

/// How many streams each account has open.
#[derive(Clone, Default)]
pub(crate) struct OpenStreams(Arc<Mutex<HashMap<AccountId, u32>>>);

/// Counts a stream for as long as it lives.
struct OpenStream {
    streams: OpenStreams,
    account: AccountId,
}

impl OpenStreams {
    fn open(&self, account: AccountId) -> Option<OpenStream> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(account).or_default();
        if *count >= STREAMS {
            return None;
        }
        *count += 1;
        Some(OpenStream { streams: self.clone(), account })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.account);
            }
        }
    }
}

/// Who reads a stream, for as long as it does.
struct Reader {
    account: AccountId,
    key: String,
    sender: mpsc::Sender<Bytes>,
    _open: OpenStream,
}

impl Reader {
    async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        self.sender.send(bytes).await.map_err(|_| Gone)
    }

    /// Ready when there may be something new, or when a sign of life is due.
    async fn wait(&self, state: &Shared, changed: &mut watch::Receiver<u64>, beat: Instant) -> Result<(), Gone> {
        loop {
            let tick = beat.min(Instant::now() + LOOK_AT_KEY);
            tokio::select! {
                // The reader resumes at the next start.
                () = state.desk.draining() => return Err(Gone),
                () = self.sender.closed() => return Err(Gone),
                _ = changed.changed() => return Ok(()),
                () = tokio::time::sleep_until(tick) => {}
            }
            if state.keys.is_refused(&state.store, &self.key).await {
                return Err(Gone);
            }
            if Instant::now() >= beat {
                return Ok(());
            }
        }
    }
}

enum Start {
    /// After what was asked for; `None`: an id that is none.
    Resume(Option<After>),
    Now(After),
}

/// An event's id, or a place of this stream.
fn place_named(store: &Store, account: AccountId, text: &str) -> Option<After> {
    text.parse::<EventId>().ok().map(After::Event).or_else(|| store.read_bookmark(account, text))
}

struct Gone;

async fn feed(state: &Shared, reader: &Reader, start: Start) -> Result<(), Gone> {
    let mut changed = state.store.signals().events;
    reader.send(Bytes::from_static(b": connected\n\n")).await?;
    let mut after = match start {
        Start::Now(after) | Start::Resume(Some(after)) => after,
        Start::Resume(None) => {
            reader.send(gap()).await?;
            After::Beginning
        }
    };
    let mut beat = Instant::now();
    loop {
        if state.desk.is_draining() {
            return Err(Gone);
        }
        changed.mark_unchanged();
        let now = clock::now();
        let page = state.store.events_since(reader.account, after, now.minus(KEPT), PAGE).await.map_err(|_| Gone)?;
        if page.gap {
            reader.send(gap()).await?;
        }
        // Not the event's id: its scan may be erased before the next look.
        after = After::Place(page.place);
        let (full, news) = (page.events.len() == PAGE as usize, !page.events.is_empty());
        for event in page.events {
            reader.send(frame(&event)).await?;
        }
        if full {
            continue;
        }
        if news || Instant::now() >= beat {
            reader.send(place_line(&state.store.bookmark(reader.account, page.place, now))).await?;
            beat = Instant::now() + HEARTBEAT;
        }
        reader.wait(state, &mut changed, beat).await?;
    }
}

/// A sign of life, and where a reader that has seen all this resumes: an id alone announces nothing.
fn place_line(bookmark: &str) -> Bytes {
    format!(": still here\nid: {bookmark}\n\n").into()
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
