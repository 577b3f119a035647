//! Connections: TLS, time limits, and a graceful end.

mod idle;

use std::{
    future::Future as _,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{Instant, Sleep, sleep_until},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::{config::TlsFiles, startup::ServeError};

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 4096;
/// For the TLS handshake, and for a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
const STREAMS: u32 = 100;
/// A connection without a request under way ends after so long.
const IDLE: Duration = Duration::from_secs(60);

/// A bound address.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Takes the port, and reads the certificate where there is one.
    pub async fn bind(address: SocketAddr, tls: Option<&TlsFiles>) -> Result<Self, ServeError> {
        let tls = tls.map(acceptor).transpose()?;
        let tcp = TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })?;
        Ok(Self { tcp, tls })
    }

    /// `http://127.0.0.1:8080`, with the port that was really bound.
    pub fn url(&self) -> io::Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.tcp.local_addr()?))
    }

    /// Serves until `stop` turns true, then lets requests under way finish, for `patience` at most.
    pub async fn serve(self, router: Router, mut stop: watch::Receiver<bool>, patience: Duration) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let stopping = stop.clone();
        // Dropped at the end, and with it whatever connection is still open then.
        let mut connections = JoinSet::new();
        loop {
            let next = async {
                let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
                self.tcp.accept().await.map(|(stream, peer)| (stream, peer, place))
            };
            let accepted = tokio::select! {
                accepted = next => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, peer, place)) => self.spawn(&mut connections, stream, peer, router.clone(), stopping.clone(), place),
                Err(error) => {
                    // Out of descriptors, say: wait for connections to end.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.tcp);
        let ended = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(patience, ended).await;
    }

    fn spawn(
        &self,
        connections: &mut JoinSet<()>,
        stream: TcpStream,
        peer: SocketAddr,
        router: Router,
        stop: watch::Receiver<bool>,
        place: OwnedSemaphorePermit,
    ) {
        let _ = stream.set_nodelay(true);
        let tls = self.tls.clone();
        connections.spawn(async move {
            let _place = place;
            match tls {
                None => speak(stream, peer, router, stop).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HEAD_TIME, tls.accept(stream)).await {
                        speak(stream, peer, router, stop).await;
                    }
                }
            }
        });
    }
}

/// One connection's life. It ends gracefully when the service stops or nobody asks for anything.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let requests = idle::Requests::default();
    let counted = requests.clone();
    let service = router.map_request(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    });
    let service = tower::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (under_way, answer) = (counted.begin(), service.clone().oneshot(request));
        async move { Ok::<_, std::convert::Infallible>(under_way.until_sent(answer.await?)) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_headers(64);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS).keep_alive_interval(Some(Duration::from_secs(30)));
    let connection =
        builder.serve_connection_with_upgrades(TokioIo::new(FirstWord::new(stream)), TowerToHyperService::new(service)).into_owned();
    let mut connection = pin!(connection);
    tokio::select! {
        // Clients break off as they please; that is no event worth a line.
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => {}
        () = requests.none_for(IDLE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// A connection whose peer must begin to speak in time: the protocol is only known, and its own time limits begin, with the first bytes.
struct FirstWord<S> {
    stream: S,
    silence: Option<Pin<Box<Sleep>>>,
}

impl<S> FirstWord<S> {
    fn new(stream: S) -> Self {
        Self { stream, silence: Some(Box::pin(sleep_until(Instant::now() + HEAD_TIME))) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstWord<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.silence = None;
        } else if let Some(silence) = &mut self.silence
            && silence.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstWord<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ServeError> {
    let refuse = |problem: String| ServeError::Tls(problem);
    let [certificate, key_name] = files.names;
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refuse(format!("{certificate}: {}: {error}", files.certificate.display())))?;
    if certificates.is_empty() {
        return Err(refuse(format!("{certificate}: {} holds no certificate", files.certificate.display())));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| refuse(format!("{key_name}: {}: {error}", files.key.display())))?;
    let versions: &[&rustls::SupportedProtocolVersion] =
        if files.allow_1_2 { &[&rustls::version::TLS13, &rustls::version::TLS12] } else { &[&rustls::version::TLS13] };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(|error| refuse(format!("{certificate} and {key_name} do not fit together: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
