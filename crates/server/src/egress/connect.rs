//! From a URL to a connection: resolve, judge every address, dial one of those judged, speak TLS.
//!
//! A name is resolved once per connection and the connection goes to an address that was judged, so a name that answers differently
//! the second time gains nothing. Nothing here reads proxy variables.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{CertificateError, ClientConfig, ProtocolVersion, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    address::{AddressPolicy, AddressRefused},
    names::Names,
    webhook_url::WebhookUrlPolicy,
};

/// With so many connections open, further ones serve one request each: what is kept for thousands of hosts would fill the memory.
const MAX_KEPT: usize = 2048;
/// Of a name's addresses at most so many are dialled.
const MAX_DIALS: usize = 4;
/// How long one address may take before the next is tried; the last has all the time there is.
const DIAL_PATIENCE: Duration = Duration::from_millis(2500);

/// Which addresses a purpose may reach, and whether in the clear.
#[derive(Clone, Debug)]
pub(super) enum Reach {
    Webhook(WebhookUrlPolicy),
    Fetch(AddressPolicy),
}

/// Opens connections for one purpose.
#[derive(Clone)]
pub(super) struct Connector {
    reach: Reach,
    tls: Arc<ClientConfig>,
    names: Names,
    open: OpenConnections,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the name {name} does not resolve: {cause}")]
    Dns { name: String, cause: io::Error },
    #[error(transparent)]
    Refused(#[from] AddressRefused),
    #[error("no connection to {address}: {cause}")]
    Dial { address: SocketAddr, cause: io::Error },
    #[error("{address} {fault}")]
    Tls { address: SocketAddr, fault: TlsFault },
    #[error("the URL has no usable host")]
    NoHost,
}

/// Why TLS did not come about.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsFault {
    #[error("has a certificate that is not valid at this time")]
    Expired,
    #[error("has a certificate of an unknown authority")]
    Untrusted,
    #[error("has a certificate for another name")]
    Name,
    #[error("does not speak TLS as it should: {0}")]
    Other(io::Error),
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) address: SocketAddr,
    /// `1.3` or `1.2`; `None` in the clear.
    pub(super) tls: Option<String>,
    /// Whether an answer came over it, so that a failure now may be of its age.
    answered: Arc<AtomicBool>,
}

/// A connection with or without TLS.
pub(super) struct Channel {
    stream: Stream,
    link: Link,
    place: Place,
}

/// How many connections are open, under way or kept for the next request.
#[derive(Clone, Debug, Default)]
struct OpenConnections(Arc<AtomicUsize>);

/// One of them, until it is dropped.
#[derive(Debug)]
struct Place {
    open: OpenConnections,
    /// Too many are open for this one to be kept.
    crowded: bool,
}

enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Reach {
    fn check(&self, address: IpAddr, http: bool) -> Result<(), AddressRefused> {
        match self {
            Self::Webhook(policy) => policy.check(address, http),
            Self::Fetch(policy) => policy.check(address),
        }
    }
}

impl Link {
    /// Tells whether this is not the first answer.
    pub(super) fn note_answer(&self) -> bool {
        self.answered.swap(true, Ordering::Relaxed)
    }

    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }
}

impl OpenConnections {
    fn enter(&self) -> Place {
        Place { crowded: self.0.fetch_add(1, Ordering::Relaxed) >= MAX_KEPT, open: self.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connector {
    pub(super) fn new(reach: Reach, tls: Arc<ClientConfig>, names: Names) -> Self {
        Self { reach, tls, names, open: OpenConnections::default() }
    }

    async fn connect(self, uri: Uri) -> Result<Channel, ConnectError> {
        let http = uri.scheme_str() == Some("http");
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(ConnectError::NoHost)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if http { 80 } else { 443 });

        let found = self.names.resolve(host).await.map_err(|cause| ConnectError::Dns { name: host.to_owned(), cause })?;
        for &address in &found {
            self.reach.check(address, http)?;
        }
        let addresses: Vec<_> = found.into_iter().map(|address| SocketAddr::new(address, port)).collect();
        let (tcp, address) = dial(&addresses).await?;
        let place = self.open.enter();
        // Requests are small and written whole; waiting for more to send would only delay them.
        let _ = tcp.set_nodelay(true);
        let answered = Arc::default();
        if http {
            let link = Link { address, tls: None, answered };
            return Ok(Channel { stream: Stream::Plain(TokioIo::new(tcp)), link, place });
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::NoHost)?;
        let tls = TlsConnector::from(self.tls).connect(name, tcp).await;
        let tls = tls.map_err(|cause| ConnectError::Tls { address, fault: tls_fault(cause) })?;
        let version = tls.get_ref().1.protocol_version().map(version_shown);
        let link = Link { address, tls: version, answered };
        Ok(Channel { stream: Stream::Tls(Box::new(TokioIo::new(tls))), link, place })
    }
}

fn version_shown(version: ProtocolVersion) -> String {
    let name = version.as_str().map_or_else(|| format!("{version:?}"), str::to_owned);
    name.strip_prefix("TLSv").map_or(name.clone(), |number| number.replace('_', "."))
}

async fn dial(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let mut failure = ConnectError::NoHost;
    let last = addresses.len().min(MAX_DIALS).saturating_sub(1);
    for (index, &address) in addresses.iter().take(MAX_DIALS).enumerate() {
        let dialled = if index == last {
            TcpStream::connect(address).await
        } else {
            match tokio::time::timeout(DIAL_PATIENCE, TcpStream::connect(address)).await {
                Ok(dialled) => dialled,
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            }
        };
        match dialled {
            Ok(stream) => return Ok((stream, address)),
            Err(cause) => failure = ConnectError::Dial { address, cause },
        }
    }
    Err(failure)
}

fn tls_fault(cause: io::Error) -> TlsFault {
    let certificate = match cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(certificate)) => certificate,
        _ => return TlsFault::Other(cause),
    };
    match certificate {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsFault::Expired,
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFault::Untrusted,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::Name,
        _ => TlsFault::Other(cause),
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Channel;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Channel, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

impl Connection for Channel {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.link.clone());
        if self.place.crowded {
            connected.poison();
        }
        match &self.stream {
            Stream::Tls(tls) if tls.inner().get_ref().1.alpn_protocol() == Some(b"h2") => connected.negotiated_h2(),
            Stream::Tls(_) | Stream::Plain(_) => connected,
        }
    }
}

impl Read for Channel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
        }
    }
}

impl Write for Channel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_beyond_the_bound_are_not_kept() {
        let open = OpenConnections::default();
        let mut places: Vec<_> = (0..MAX_KEPT).map(|_| open.enter()).collect();
        assert!(places.iter().all(|place| !place.crowded));
        assert!(open.enter().crowded);
        places.pop();
        assert!(!open.enter().crowded, "one went");
        drop(places);
        assert_eq!(open.0.load(Ordering::Relaxed), 0);
    }
}
