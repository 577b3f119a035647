//! Events posted on to a local URL, with the headers and the signature that they came with.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bytes::Bytes;
use filesafety::{
    SigningSecret,
    receiver::{HandlerError, ScanEvent},
    sign,
};
use http_body_util::Full;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use url::Url;

/// A signature older than this, in seconds, is made anew where the secret is known: the application would take it for a replay.
const FRESH: u64 = 4 * 60;

/// An `http` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ForwardUrl(Url);

impl ForwardUrl {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let remedy = "give the application's address on this machine or network, such as http://127.0.0.1:3000/webhooks/filesafety";
        let url = Url::parse(text).map_err(|error| format!("{text:?}: {error}; {remedy}"))?;
        let fits = url.scheme() == "http" && url.has_host() && url.username().is_empty() && url.password().is_none();
        if fits { Ok(Self(url)) } else { Err(format!("{text:?}; {remedy}")) }
    }
}

/// Posts events.
#[derive(Debug)]
pub(super) struct Forward {
    url: ForwardUrl,
    secrets: Vec<SigningSecret>,
    limit: Duration,
}

impl Forward {
    pub(super) fn new(url: ForwardUrl, secrets: Vec<SigningSecret>, limit: Duration) -> Self {
        Self { url, secrets, limit }
    }

    /// One try; anything but a 2xx within the limit is a failure.
    pub(super) async fn post(&self, event: &ScanEvent) -> Result<(), HandlerError> {
        let sent = timeout(self.limit, self.send(event)).await;
        let status =
            sent.map_err(|_| HandlerError::retry(format!("{} did not answer within {} s", self.url.0, self.limit.as_secs_f32())))?;
        let status = status.map_err(|error| HandlerError::retry(format!("{}: {error:#}", self.url.0)))?;
        if status.is_success() { Ok(()) } else { Err(HandlerError::retry(format!("{} answered {status}", self.url.0))) }
    }

    async fn send(&self, event: &ScanEvent) -> anyhow::Result<hyper::StatusCode> {
        let request = self.request(event, SystemTime::now())?;
        let host = self.url.0.host_str().context("no host")?.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, self.url.0.port_or_known_default().unwrap_or(80))).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await;
        // The status decides; a body is not read.
        connection.abort();
        Ok(answer?.status())
    }

    fn request(&self, event: &ScanEvent, now: SystemTime) -> anyhow::Result<Request<Full<Bytes>>> {
        let url = &self.url.0;
        let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = Request::post(target)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("FileSafety/", env!("CARGO_PKG_VERSION")));
        let headers = &event.headers;
        if let Some(id) = &headers.id {
            request = request.header(sign::ID_HEADER, id);
        }
        let now_secs = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let is_stale = |timestamp: &str| timestamp.parse::<u64>().is_ok_and(|sent| sent.abs_diff(now_secs) > FRESH);
        let (timestamp, signature) = match (&headers.id, &headers.timestamp) {
            (Some(id), Some(timestamp)) if is_stale(timestamp) && !self.secrets.is_empty() => {
                let now_secs = i64::try_from(now_secs)?;
                (Some(now_secs.to_string()), Some(sign::sign(&self.secrets, id, now_secs, &event.body)))
            }
            _ => (headers.timestamp.clone(), headers.signature.clone()),
        };
        for (name, value) in [(sign::TIMESTAMP_HEADER, timestamp), (sign::SIGNATURE_HEADER, signature)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        Ok(request.body(Full::new(event.body.clone()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_local_urls_are_taken() {
        for bad in ["", "localhost:3000", "https://localhost/", "http://u:p@localhost/", "unix:/a", "http://"] {
            assert!(ForwardUrl::parse(bad).is_err(), "{bad}");
        }
        assert!(ForwardUrl::parse("http://[::1]:3000/hook?a=b").is_ok());
    }
}
