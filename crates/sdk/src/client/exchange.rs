//! A request and its answer: connections that are reused, answers that are bounded, tries that are repeated where that is safe.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri,
    header::{CONTENT_TYPE, USER_AGENT},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    channel::Connector,
    error::{ClientError, Refusal},
    retry::{RetryPolicy, Setback, retry_after},
    source::{FileSource, Progress, UploadBody},
};

/// More than a page of the most verbose scans weighs.
const ANSWER_MAX: usize = 8 << 20;
const MESSAGE_MAX: usize = 1000;

pub(super) type Http = legacy::Client<HttpsConnector<Connector>, UploadBody>;

/// Sends calls.
pub(super) struct Exchange {
    pub(super) http: Http,
    pub(super) retry: RetryPolicy,
    /// From the last byte that the service took to the end of its answer.
    pub(super) answer_within: Duration,
}

/// What is sent.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) target: Uri,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    pub(super) repeat: Repeat,
}

/// The body of a call, opened anew for each try.
pub(super) enum Payload {
    Nothing,
    Json(Bytes),
    File { content_type: HeaderValue, head: Bytes, file: FileSource, tail: Bytes },
}

/// Which failures a call is repeated after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Any: a second time changes nothing.
    Always,
    /// Only those that say that nothing was accepted.
    WhenRefused,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether an earlier try of the same call may have had its effect.
    pub(super) repeated: bool,
}

impl Exchange {
    /// The answer of the last try, whatever its status.
    pub(super) async fn call(&self, call: &Call) -> Result<Answer, ClientError> {
        let (mut made, mut repeated) = (0, false);
        loop {
            let outcome = self.once(call).await;
            made += 1;
            let pause = call.setback(&outcome).and_then(|setback| self.retry.pause(made, setback, random()));
            match pause {
                None => return outcome.map(|answer| Answer { repeated, ..answer }),
                Some(pause) => sleep(pause).await,
            }
            repeated |= !outcome.is_ok_and(|answer| answer.nothing_was_accepted());
        }
    }

    async fn once(&self, call: &Call) -> Result<Answer, ClientError> {
        let progress = Progress::new();
        let request = call.open(progress.clone()).await?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| {
                if error.is_connect() { ClientError::Unreachable(Box::new(error)) } else { ClientError::Interrupted(Box::new(error)) }
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                Some(_) => ClientError::Protocol(format!("it is longer than {ANSWER_MAX} bytes")),
                None => ClientError::Interrupted(error),
            })?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes(), repeated: false })
        };
        let outcome = tokio::select! {
            outcome = exchange => outcome,
            () = silence(&progress, self.answer_within) => {
                let seconds = self.answer_within.as_secs_f32();
                Err(ClientError::Interrupted(format!("nothing moved for {seconds} s").into()))
            }
        };
        // A connection that broke because the file did is the file's fault.
        outcome.map_err(|error| progress.take_fault().map_or(error, ClientError::File))
    }
}

/// Ends when no byte was taken for so long.
async fn silence(progress: &Progress, longest: Duration) {
    loop {
        match progress.last().checked_add(longest) {
            Some(until) if until <= Instant::now() => return,
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }
}

/// 0..=1. Without entropy the pauses are the longest ones.
fn random() -> f64 {
    let mut byte = [0];
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

impl Call {
    /// Without a body, and safe to repeat.
    pub(super) fn new(method: Method, target: Uri, headers: HeaderMap) -> Self {
        Self { method, target, headers, payload: Payload::Nothing, repeat: Repeat::Always }
    }

    async fn open(&self, progress: Arc<Progress>) -> Result<Request<UploadBody>, ClientError> {
        let (content_type, body) = match &self.payload {
            Payload::Nothing => (None, UploadBody::of(Bytes::new(), progress)),
            Payload::Json(json) => (Some(HeaderValue::from_static("application/json")), UploadBody::of(json.clone(), progress)),
            Payload::File { content_type, head, file, tail } => {
                let body = file.open(head.clone(), tail.clone(), progress).await.map_err(ClientError::File)?;
                (Some(content_type.clone()), body)
            }
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        let agent = concat!("filesafety-client/", env!("CARGO_PKG_VERSION"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
        if let Some(content_type) = content_type {
            request.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        Ok(request)
    }

    /// Whether another try makes sense after this outcome, and what it is to wait for.
    fn setback(&self, outcome: &Result<Answer, ClientError>) -> Option<Setback> {
        let unread = match &self.payload {
            Payload::Nothing | Payload::Json(_) => true,
            Payload::File { file, .. } => file.is_unread(),
        };
        let always = self.repeat == Repeat::Always;
        let (worth_it, retry_after) = match outcome {
            Ok(answer) if answer.nothing_was_accepted() => (true, answer.retry_after()),
            Ok(answer) => (always && answer.is_fault(), answer.retry_after()),
            Err(ClientError::Unreachable(_)) => (true, None),
            Err(ClientError::Interrupted(_)) => (always, None),
            Err(_) => (false, None),
        };
        (unread && worth_it).then_some(Setback { retry_after })
    }
}

impl Answer {
    /// What a 2xx holds; else the refusal.
    pub(super) fn read<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        if !self.status.is_success() {
            return Err(self.into_error());
        }
        serde_json::from_slice(&self.body).map_err(|error| ClientError::Protocol(format!("{}, {error}", self.status)))
    }

    /// The error that anything but a 2xx is.
    pub(super) fn into_error(self) -> ClientError {
        let refusal = self.refusal();
        let known = refusal.code.is_some();
        match (self.status.as_u16(), refusal.code.as_deref()) {
            (401 | 403, _) => ClientError::Unauthorized(refusal),
            (404, Some(_)) => ClientError::NotFound(refusal),
            (408, _) => ClientError::TooSlow(refusal),
            (409, Some(_)) => ClientError::Conflict(refusal),
            (410, Some(_)) => ClientError::UploadExpired(refusal),
            (413, _) => ClientError::TooLarge(refusal),
            (429, Some("quota_exceeded")) => ClientError::QuotaExceeded(refusal),
            (429, _) => ClientError::RateLimited(refusal),
            (400..=499, Some(_)) => ClientError::Validation(refusal),
            (500..=599, _) => ClientError::Unavailable(refusal),
            (status, _) => {
                let hint = if known { "" } else { "; is this FileSafety?" };
                ClientError::Protocol(format!("{status} {}{hint}", refusal.message))
            }
        }
    }

    /// What the service says in its refusal.
    pub(super) fn refusal(&self) -> Refusal {
        #[derive(Default, Deserialize)]
        struct Body {
            error: String,
            code: String,
            scan_id: Option<String>,
        }
        let body = serde_json::from_slice::<Body>(&self.body).ok();
        let header = |name: HeaderName| self.headers.get(name).and_then(|value| value.to_str().ok()).map(plain);
        Refusal {
            status: self.status.as_u16(),
            request_id: header(HeaderName::from_static("x-request-id")),
            retry_after: self.retry_after(),
            scan_id: body.as_ref().and_then(|body| body.scan_id.as_deref().map(plain)),
            code: body.as_ref().map(|body| plain(&body.code)),
            message: body.map_or_else(|| "without an answer in JSON".to_owned(), |body| plain(&body.error)),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers, SystemTime::now())
    }

    /// Whether the refusal promises that the request had no effect and that a later one may have.
    fn nothing_was_accepted(&self) -> bool {
        let code = self.refusal().code;
        matches!(
            (self.status.as_u16(), code.as_deref()),
            (429, Some("rate_limited")) | (503, Some("overloaded" | "storage_unavailable")) | (409, Some("idempotency_in_progress"))
        )
    }

    /// Whether the service, or something in front of it, failed. A 502 about a scan is that scan's outcome.
    fn is_fault(&self) -> bool {
        self.status.is_server_error() && self.refusal().scan_id.is_none()
    }
}

/// Foreign text for logs and terminals: short, and without control characters.
fn plain(text: &str) -> String {
    text.chars().take(MESSAGE_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
