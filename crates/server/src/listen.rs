//! Connections: TLS, time limits, and a graceful end.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::{config::TlsFiles, startup::ServeError};

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 4096;
/// For the TLS handshake, and for a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
const STREAMS: u32 = 100;

/// A bound address.
pub(crate) struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    pub(crate) async fn bind(address: SocketAddr, tls: Option<&TlsFiles>) -> Result<Self, ServeError> {
        let tls = tls.map(acceptor).transpose()?;
        let tcp = TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })?;
        Ok(Self { tcp, tls })
    }

    /// `http://127.0.0.1:8080`, with the port that was really bound.
    pub(crate) fn url(&self) -> io::Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.tcp.local_addr()?))
    }

    /// Serves until `stop` turns true, then lets requests under way finish, for `patience` at most.
    pub(crate) async fn serve(self, router: Router, mut stop: watch::Receiver<bool>, patience: Duration) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let graceful = GracefulShutdown::new();
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { break };
            let accepted = tokio::select! {
                accepted = self.tcp.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => self.spawn(stream, peer, router.clone(), &graceful, place),
                Err(error) => {
                    // Out of descriptors, say: wait for connections to end.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.tcp);
        let _ = tokio::time::timeout(patience, graceful.shutdown()).await;
    }

    fn spawn(&self, stream: TcpStream, peer: SocketAddr, router: Router, graceful: &GracefulShutdown, place: OwnedSemaphorePermit) {
        let _ = stream.set_nodelay(true);
        let watcher = graceful.watcher();
        let tls = self.tls.clone();
        tokio::spawn(async move {
            let _place = place;
            match tls {
                None => speak(stream, peer, router, watcher).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HEAD_TIME, tls.accept(stream)).await {
                        speak(stream, peer, router, watcher).await;
                    }
                }
            }
        });
    }
}

/// One connection's life.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let service = router.map_request(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_headers(64);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS).keep_alive_interval(Some(Duration::from_secs(30)));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned();
    // Clients break off as they please; that is no event worth a line.
    let _ = watcher.watch(connection).await;
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ServeError> {
    let refuse = |problem: String| ServeError::Tls(problem);
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refuse(format!("FILESAFETY_TLS_CERT: {}: {error}", files.certificate.display())))?;
    if certificates.is_empty() {
        return Err(refuse(format!("FILESAFETY_TLS_CERT: {} holds no certificate", files.certificate.display())));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| refuse(format!("FILESAFETY_TLS_KEY: {}: {error}", files.key.display())))?;
    let versions: &[&rustls::SupportedProtocolVersion] =
        if files.allow_1_2 { &[&rustls::version::TLS13, &rustls::version::TLS12] } else { &[&rustls::version::TLS13] };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(|error| refuse(format!("FILESAFETY_TLS_CERT and FILESAFETY_TLS_KEY do not fit together: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
