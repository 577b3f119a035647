//! Talking to the service over HTTP/1.1: one connection a request, answers bounded.

use std::{
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use filesafety_server::config::Resolved;
use http_body_util::{BodyExt, Empty, Full, Limited, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::ServerName, pki_types::pem::PemObject};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use url::Url;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// An upload of an hour, and the wait for its verdict.
const UPLOAD_WITHIN: Duration = Duration::from_secs(3600 + 60);
const ANSWER_MAX: usize = 8 << 20;
const CHUNK: usize = 64 * 1024;

pub(crate) type RequestBody = BoxBody<Bytes, std::io::Error>;

/// The service, and the key it is asked with.
pub(crate) struct Client {
    url: Url,
    key: String,
    ca_file: Option<String>,
}

/// What the service said.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl Client {
    pub(crate) fn new(settings: &Resolved) -> Result<Self> {
        let text = |key: &str| settings.get(key).map(|value| value.text.trim().to_owned()).filter(|text| !text.is_empty());
        let url = text("url").unwrap_or_default();
        let url: Url =
            url.parse().with_context(|| format!("FILESAFETY_URL is {url:?}; give the service's address, such as http://127.0.0.1:8080"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            bail!("FILESAFETY_URL is {url}; give an http or https address, such as http://127.0.0.1:8080");
        }
        let key = text("api_key").ok_or_else(|| {
            anyhow!("FILESAFETY_API_KEY is not set. It holds the key that the service's first start printed, or one from `filesafety keys create`.")
        })?;
        Ok(Self { url, key, ca_file: text("ca_file") })
    }

    /// For a place of someone else's, which gets no key.
    pub(crate) fn without_key(url: Url, settings: &Resolved) -> Self {
        let ca_file = settings.get("ca_file").map(|value| value.text.trim().to_owned()).filter(|text| !text.is_empty());
        Self { url, key: String::new(), ca_file }
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Mind where it goes.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Opens an answer that does not end, such as a stream of events.
    pub(crate) async fn open(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response<Incoming>> {
        let mut request = self.request(Method::GET, path).header("accept", "text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new().map_err(|never| match never {}).boxed())?;
        timeout(ANSWER_WITHIN, self.exchange(request)).await.context("no answer within 60 s")?
    }

    /// Posts to the URL itself, once; the answer's body is not read.
    pub(crate) async fn post(&self, headers: &[(&str, &str)], body: Bytes, within: Duration) -> Result<StatusCode> {
        let mut path = self.url.path().to_owned();
        if let Some(query) = self.url.query() {
            path = format!("{path}?{query}");
        }
        let mut request = Request::builder().method(Method::POST).uri(path).header("host", self.host());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body).map_err(|never| match never {}).boxed())?;
        let answer = timeout(within, self.exchange(request)).await;
        Ok(answer.with_context(|| format!("no answer within {} s", within.as_secs()))??.status())
    }

    /// Asks without a body.
    pub(crate) async fn call(&self, method: Method, path: &str) -> Result<Answer> {
        let request = self.request(method, path).body(Empty::new().map_err(|never| match never {}).boxed())?;
        self.answer(request, ANSWER_WITHIN).await
    }

    /// Sends a body of a type.
    pub(crate) async fn send(&self, method: Method, path: &str, content_type: &str, body: RequestBody) -> Result<Answer> {
        let request = self.request(method, path).header("content-type", content_type).body(body)?;
        self.answer(request, UPLOAD_WITHIN).await
    }

    fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        let path = format!("{}{path}", self.url.path().trim_end_matches('/'));
        let agent = concat!("filesafety/", env!("CARGO_PKG_VERSION"));
        Request::builder().method(method).uri(path).header("host", self.host()).header("user-agent", agent).header("x-api-key", &self.key)
    }

    fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    async fn exchange(&self, request: Request<RequestBody>) -> Result<Response<Incoming>> {
        match self.url.scheme() {
            "https" => exchange(self.connect_tls().await?, request).await,
            _ => exchange(self.connect().await?, request).await,
        }
    }

    async fn answer(&self, request: Request<RequestBody>, within: Duration) -> Result<Answer> {
        let exchange = async { read_answer(self.exchange(request).await?).await };
        let answer = timeout(within, exchange).await;
        answer
            .with_context(|| format!("{} did not answer within {} s", self.url, within.as_secs()))?
            .with_context(|| format!("cannot ask {}", self.url))
    }

    async fn connect(&self) -> Result<TcpStream> {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.url.port_or_known_default().unwrap_or(80);
        let hint = if self.key.is_empty() { "is it running?" } else { "is the service running? FILESAFETY_URL says where it is" };
        let stream = timeout(CONNECT_WITHIN, TcpStream::connect((host, port))).await.context("no connection within 10 s")?.context(hint)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn connect_tls(&self) -> Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = &self.ca_file {
            let unreadable = || format!("FILESAFETY_CA_FILE {path} holds no certificates in PEM");
            for certificate in CertificateDer::pem_file_iter(Path::new(path)).with_context(unreadable)? {
                roots.add(certificate.with_context(unreadable)?).with_context(unreadable)?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host)?;
        let stream = self.connect().await?;
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.context("the service's certificate was not accepted")
    }
}

impl Answer {
    /// The body of a 2xx; else the service's own words as the error.
    pub(crate) fn success(self) -> Result<Value> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let text = |key: &str| self.body.get(key).and_then(Value::as_str);
        let mut message = format!("the service answered {}", self.status);
        for (before, part) in [(": ", text("error")), (" (", text("code"))] {
            if let Some(part) = part {
                message = message + before + &crate::terminal::escaped(part);
            }
        }
        if text("code").is_some() {
            message.push(')');
        }
        if let Some(scan) = text("scan_id") {
            message = format!("{message}; scan {}", crate::terminal::escaped(scan));
        }
        Err(anyhow!(message))
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    request: Request<RequestBody>,
) -> Result<Response<Incoming>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Its errors come back from the request and the body as well.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

async fn read_answer(response: Response<Incoming>) -> Result<Answer> {
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_MAX)
        .collect()
        .await
        .map_err(|error| anyhow!("its answer broke off: {error}"))?
        .to_bytes();
    let body = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&body).with_context(|| format!("it answered {status} with no JSON; is this FileSafety?"))?
    };
    Ok(Answer { status, body })
}

/// The form of one file with its other fields, read as it is sent. `length` is the file's, when it is known.
pub(crate) fn form<R>(fields: &[(&str, &str)], file_name: &str, file: R, length: Option<u64>) -> Result<(String, RequestBody)>
where
    R: AsyncRead + Send + Unpin + 'static,
{
    let mut entropy = [0; 16];
    getrandom::fill(&mut entropy).context("the system gives no randomness")?;
    let boundary = data_encoding::HEXLOWER.encode(&entropy);
    let mut head = String::new();
    for (name, value) in fields {
        head += &format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    let file_name = file_name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
    head += &format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let whole = length.and_then(|length| length.checked_add(u64::try_from(head.len() + tail.len()).ok()?));
    let (chunks, receiver) = mpsc::channel(4);
    tokio::spawn(feed(chunks, head, file, length, tail));
    Ok((format!("multipart/form-data; boundary={boundary}"), ChunkBody { chunks: receiver, length: whole }.boxed()))
}

async fn feed<R: AsyncRead + Unpin>(
    chunks: mpsc::Sender<std::io::Result<Bytes>>,
    head: String,
    file: R,
    length: Option<u64>,
    tail: String,
) {
    // Whoever no longer listens has the error already.
    let _gone = async {
        chunks.send(Ok(head.into())).await?;
        let mut file = file.take(length.unwrap_or(u64::MAX));
        loop {
            let mut chunk = bytes::BytesMut::with_capacity(CHUNK);
            match file.read_buf(&mut chunk).await {
                Ok(0) if length.is_some() && file.limit() > 0 => {
                    return chunks.send(Err(std::io::Error::other("the file became shorter while it was sent"))).await;
                }
                Ok(0) => return chunks.send(Ok(tail.into())).await,
                Ok(_) => chunks.send(Ok(chunk.freeze())).await?,
                Err(error) => return chunks.send(Err(error)).await,
            }
        }
    }
    .await;
}

/// A body that another task feeds.
struct ChunkBody {
    chunks: mpsc::Receiver<std::io::Result<Bytes>>,
    length: Option<u64>,
}

impl Body for ChunkBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        self.chunks.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(fields: &[(&str, &str)], name: &str, file: &'static [u8], length: Option<u64>) -> Result<(String, String, Option<u64>)> {
        let (content_type, body) = form(fields, name, file, length)?;
        let declared = body.size_hint().exact();
        let bytes = body.collect().await?.to_bytes();
        Ok((content_type, String::from_utf8(bytes.to_vec())?, declared))
    }

    #[tokio::test]
    async fn a_file_that_shrinks_breaks_the_upload() {
        assert!(text(&[], "a", b"12", Some(3)).await.is_err());
    }

    #[tokio::test]
    async fn the_declared_length_is_the_forms_own() {
        let (content_type, body, declared) = text(&[("metadata", "{}")], "a\"\r\n.txt", b"abc", Some(3)).await.unwrap();
        assert_eq!(declared, Some(body.len() as u64));
        let boundary = content_type.split_once("boundary=").unwrap().1;
        assert!(body.starts_with(&format!("--{boundary}\r\n")) && body.ends_with(&format!("abc\r\n--{boundary}--\r\n")));
        assert!(body.contains("filename=\"a%22%0D%0A.txt\""));
        assert_eq!(text(&[], "-", b"abc", None).await.unwrap().2, None);
    }
}
