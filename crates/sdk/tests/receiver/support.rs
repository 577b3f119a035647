//! Bodies, signed requests, and a clock that stands still.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use filesafety::{
    SigningSecret,
    receiver::{Builder, HandlerError, Receiver, ScanEvent, memory::MemoryStore},
    sign,
};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

pub(crate) const NOW_SECS: u64 = 1_790_000_000;
pub(crate) const TOKEN: &str = "a-token-of-the-tests-own";

pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW_SECS)
}

pub(crate) fn secret(byte: u8) -> SigningSecret {
    SigningSecret::generate([byte; 32])
}

pub(crate) fn scan_id(number: u64) -> String {
    format!("scn_{number:026}")
}

/// `scan.complete` for sequence 1, `scan.verdict_updated` for later ones.
pub(crate) fn body(scan: &str, verdict: &str, sequence: u32) -> String {
    with_metadata(scan, verdict, sequence, "{}")
}

pub(crate) fn with_metadata(scan: &str, verdict: &str, sequence: u32, metadata: &str) -> String {
    let (event, previous) = if sequence == 1 { ("scan.complete", "") } else { ("scan.verdict_updated", ",\"previous_verdict\":\"clean\"") };
    format!(
        "{{\"event\":\"{event}\",\"scan_id\":\"{scan}\",\"verdict\":\"{verdict}\",\"virus\":null,\"nsfw\":null,\"file_hash\":null,\
         \"metadata\":{metadata},\"completed_at\":\"2026-09-21T14:13:20.120Z\",\"sequence\":{sequence},\"failure\":null{previous}}}"
    )
}

pub(crate) fn request(body: impl Into<Body>) -> Request<Body> {
    Request::post("/hook").header("content-type", "application/json").body(body.into()).unwrap()
}

pub(crate) fn signed(secrets: &[SigningSecret], body: &str) -> Request<Body> {
    signed_at(secrets, NOW_SECS, body)
}

pub(crate) fn signed_at(secrets: &[SigningSecret], secs: u64, body: &str) -> Request<Body> {
    let secs = i64::try_from(secs).unwrap();
    let mut request = request(body.to_owned());
    let headers = request.headers_mut();
    headers.insert("webhook-id", "evt_1".parse().unwrap());
    headers.insert("webhook-timestamp", secs.to_string().parse().unwrap());
    headers.insert("webhook-signature", sign::sign(secrets, "evt_1", secs, body.as_bytes()).parse().unwrap());
    request
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<String>,
    pub(crate) json: Value,
}

impl Answer {
    /// The status, and the code of a refusal or what became of the event.
    pub(crate) fn short(&self) -> (u16, &str) {
        let text = |key: &str| self.json.get(key).and_then(Value::as_str);
        (self.status.as_u16(), text("code").or(text("status")).unwrap_or_default())
    }
}

pub(crate) async fn send(receiver: &Receiver, request: Request<Body>) -> Answer {
    let response = receiver.service().oneshot(request).await.unwrap();
    let status = response.status();
    let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    Answer { status, retry_after, json: serde_json::from_slice(&bytes).unwrap() }
}

/// What handlers were given.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    events: Arc<Mutex<Vec<Arc<ScanEvent>>>>,
    failures: Arc<AtomicU64>,
}

impl Seen {
    /// Fails the next `times` tries.
    pub(crate) fn failing(times: u64) -> Self {
        Self { events: Arc::default(), failures: Arc::new(AtomicU64::new(times)) }
    }

    pub(crate) fn fail_next(&self, times: u64) {
        self.failures.store(times, Ordering::SeqCst);
    }

    pub(crate) async fn handle(self, event: Arc<ScanEvent>) -> Result<(), HandlerError> {
        self.events.lock().unwrap().push(event);
        let fails = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if fails { Err(HandlerError::retry("on purpose")) } else { Ok(()) }
    }

    pub(crate) fn events(&self) -> Vec<Arc<ScanEvent>> {
        self.events.lock().unwrap().clone()
    }

    /// Scan and sequence, in the order of the tries.
    pub(crate) fn keys(&self) -> Vec<(String, u32)> {
        self.events().iter().map(|event| (event.scan_id.clone(), event.sequence)).collect()
    }
}

/// A builder whose only handler is `seen`, on a clock that stands still at [`now`].
pub(crate) fn builder(seen: &Seen) -> Builder {
    let seen = seen.clone();
    Receiver::builder(MemoryStore::new()).clock(now).otherwise(move |event| seen.clone().handle(event))
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut ask: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let what = what.to_owned();
    async move {
        for _ in 0..1000 {
            if ask() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited 10 s in vain for {what}");
    }
}
