//! One attempt to deliver a webhook.

use std::{
    error::Error,
    fmt, io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{CaptureConnection, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::RootCertStore;

use super::{
    connect::{ConnectError, Connector, Link, Reach, TlsFault},
    names::Names,
    retry_after::retry_after,
    tls::client_config,
    webhook_url::WebhookUrlPolicy,
};
use crate::clock;

/// Of an answer's body at most so much is read.
const READ_MAX: usize = 4096;
/// Of an answer's body so much is kept.
const HEAD_MAX: usize = 1024;
/// The status decides; whoever drips a body after it holds its place no longer than this.
const BODY_PATIENCE: Duration = Duration::from_secs(1);
/// Of one host's connections so many wait for the next request, for so long: as many as it may have attempts under way, since to open them
/// anew costs more than the attempts.
const IDLE_PER_HOST: usize = 64;
const IDLE_FOR: Duration = Duration::from_secs(20);
/// Longest head of an answer.
const ANSWER_HEAD_MAX: usize = 32 * 1024;
const ANSWER_HEADERS_MAX: usize = 100;

/// Sends webhooks; clones share their connections.
#[derive(Clone)]
pub(super) struct WebhookSender {
    client: Client<Connector, Full<Bytes>>,
}

/// What to send where.
#[derive(Clone, Debug)]
pub struct WebhookRequest<'a> {
    pub url: &'a str,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// For all of it: resolving, connecting, sending, and the head of the answer.
    pub timeout: Duration,
}

/// How an attempt went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Where the connection went.
    pub address: Option<SocketAddr>,
    /// The version of TLS that was spoken: `1.3`.
    pub tls: Option<String>,
    pub status: Option<StatusCode>,
    /// How long the receiver asks to wait.
    pub retry_after: Option<Duration>,
    /// The first 1 KiB of the answer's body.
    pub body_head: Bytes,
    pub elapsed: Duration,
    /// `None` exactly when the status is 2xx.
    pub error: Option<SendError>,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct SendError {
    pub kind: SendErrorKind,
    /// A sentence for a person; shows no query.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendErrorKind {
    /// The name does not resolve.
    Dns,
    /// An address of the name is not one that webhooks may reach.
    AddressRefused,
    /// Nobody listens there.
    Connect,
    Tls,
    /// The certificate is out of its time.
    TlsExpired,
    /// The certificate is of an unknown authority.
    TlsUntrusted,
    /// The certificate is for another name.
    TlsName,
    Timeout,
    /// The connection ended without an answer.
    Reset,
    /// The answer is no HTTP.
    Protocol,
    /// An answer other than 2xx.
    Status,
}

impl SendErrorKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::AddressRefused => "address_refused",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::TlsExpired => "tls_expired",
            Self::TlsUntrusted => "tls_untrusted",
            Self::TlsName => "tls_name",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Status => "status",
        }
    }
}

impl WebhookSender {
    pub(super) fn new(policy: WebhookUrlPolicy, roots: RootCertStore, names: Names) -> Self {
        let connector = Connector::new(Reach::Webhook(policy), client_config(roots, true), names);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http1_max_buf_size(ANSWER_HEAD_MAX)
            .http1_max_headers(ANSWER_HEADERS_MAX)
            .http2_max_header_list_size(16 * 1024)
            .http2_initial_stream_window_size(64 * 1024)
            .http2_initial_connection_window_size(1024 * 1024)
            .build(connector);
        Self { client }
    }

    pub(super) async fn send(&self, request: WebhookRequest<'_>) -> Outcome {
        let started = Instant::now();
        let deadline = started + request.timeout;
        let mut outcome = self.exchange(&request, deadline).await;
        outcome.elapsed = started.elapsed();
        outcome
    }

    async fn exchange(&self, request: &WebhookRequest<'_>, deadline: Instant) -> Outcome {
        let Ok(uri) = request.url.parse::<Uri>() else {
            return Outcome::failed(None, SendErrorKind::Connect, "the URL cannot be used".to_owned());
        };
        match self.try_once(request, &uri, deadline).await {
            // A receiver may close an idle connection at the moment it is used again. That is not its failure.
            Attempt::Stale => match self.try_once(request, &uri, deadline).await {
                Attempt::Done(outcome) => outcome,
                Attempt::Stale => Outcome::failed(None, SendErrorKind::Reset, RESET.to_owned()),
            },
            Attempt::Done(outcome) => outcome,
        }
    }

    async fn try_once(&self, request: &WebhookRequest<'_>, uri: &Uri, deadline: Instant) -> Attempt {
        let mut message = Request::new(Full::new(request.body.clone()));
        *message.method_mut() = Method::POST;
        *message.uri_mut() = uri.clone();
        *message.headers_mut() = request.headers.clone();
        let capture = capture_connection(&mut message);
        let response = match tokio::time::timeout_at(deadline.into(), self.client.request(message)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let link = link_of(&capture);
                let (kind, text, dialled) = describe(&error);
                if kind == SendErrorKind::Reset && link.as_ref().is_some_and(Link::has_answered) {
                    return Attempt::Stale;
                }
                let mut outcome = Outcome::failed(link.as_ref(), kind, text);
                outcome.address = outcome.address.or(dialled);
                return Attempt::Done(outcome);
            }
            Err(_) => {
                let link = link_of(&capture);
                if let Some(connected) = capture.connection_metadata().as_ref() {
                    // An HTTP/2 connection outlives its request, and this one may be dead.
                    connected.poison();
                }
                let lacking = if link.is_some() { "answer" } else { "connection" };
                let text = format!("no {lacking} within {}", Seconds(request.timeout));
                return Attempt::Done(Outcome::failed(link.as_ref(), SendErrorKind::Timeout, text));
            }
        };
        Attempt::Done(Outcome::answered(link_of(&capture), response, deadline).await)
    }
}

enum Attempt {
    Done(Outcome),
    /// A connection that had served before ended without an answer.
    Stale,
}

const RESET: &str = "the connection was closed without an answer";

impl Outcome {
    /// Whether the receiver has the event.
    pub fn is_delivered(&self) -> bool {
        self.error.is_none()
    }

    fn failed(link: Option<&Link>, kind: SendErrorKind, text: String) -> Self {
        Self {
            address: link.map(|link| link.address),
            tls: link.and_then(|link| link.tls.clone()),
            status: None,
            retry_after: None,
            body_head: Bytes::new(),
            elapsed: Duration::ZERO,
            error: Some(SendError { kind, text }),
        }
    }

    async fn answered(link: Option<Link>, response: Response<Incoming>, deadline: Instant) -> Self {
        if let Some(link) = &link {
            link.note_answer();
        }
        let status = response.status();
        let asks = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let retry_after = asks.then(|| retry_after(response.headers(), clock::now())).flatten();
        let error = (!status.is_success()).then(|| SendError { kind: SendErrorKind::Status, text: format!("the answer was {status}") });
        let patience = deadline.min(Instant::now() + BODY_PATIENCE);
        let body_head = read_head(response.into_body(), patience).await;
        let (address, tls) = link.map_or((None, None), |link| (Some(link.address), link.tls));
        Self { address, tls, status: Some(status), retry_after, body_head, elapsed: Duration::ZERO, error }
    }
}

/// The first bytes of the body, as far as they come in time; a body of less than [`READ_MAX`] is read to its end, so that its connection
/// can serve again.
async fn read_head(mut body: Incoming, until: Instant) -> Bytes {
    let mut head = Vec::new();
    let mut read = 0usize;
    let reading = async {
        while read < READ_MAX {
            let Some(Ok(frame)) = body.frame().await else { break };
            let Some(data) = frame.data_ref() else { continue };
            read = read.saturating_add(data.len());
            let room = HEAD_MAX.saturating_sub(head.len());
            head.extend(data.iter().take(room));
        }
    };
    // Whether time ran out does not matter: the status has decided.
    let _ = tokio::time::timeout_at(until.into(), reading).await;
    Bytes::from(head)
}

fn link_of(capture: &CaptureConnection) -> Option<Link> {
    let mut extensions = http::Extensions::new();
    capture.connection_metadata().as_ref()?.get_extras(&mut extensions);
    extensions.remove::<Link>()
}

/// What the error is to an operator, and the address that was tried.
fn describe(error: &(dyn Error + 'static)) -> (SendErrorKind, String, Option<SocketAddr>) {
    if let Some(connect) = find::<ConnectError>(error) {
        let (kind, address) = match connect {
            ConnectError::Dns { .. } => (SendErrorKind::Dns, None),
            ConnectError::Refused(refused) => (SendErrorKind::AddressRefused, Some(SocketAddr::new(refused.0, 0))),
            ConnectError::Dial { address, cause } if cause.kind() == io::ErrorKind::TimedOut => (SendErrorKind::Timeout, Some(*address)),
            ConnectError::Dial { address, .. } => (SendErrorKind::Connect, Some(*address)),
            ConnectError::Tls { address, fault } => (tls_kind(fault), Some(*address)),
            ConnectError::NoHost => (SendErrorKind::Connect, None),
        };
        // A refused address was never connected to.
        return (kind, connect.to_string(), address.filter(|address| address.port() != 0));
    }
    if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
        return (SendErrorKind::Protocol, "the answer is no HTTP".to_owned(), None);
    }
    (SendErrorKind::Reset, RESET.to_owned(), None)
}

fn tls_kind(fault: &TlsFault) -> SendErrorKind {
    match fault {
        TlsFault::Expired => SendErrorKind::TlsExpired,
        TlsFault::Untrusted => SendErrorKind::TlsUntrusted,
        TlsFault::Name => SendErrorKind::TlsName,
        TlsFault::Other(_) => SendErrorKind::Tls,
    }
}

/// The first error of this type among the error and its causes.
pub(super) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f32())
    }
}
