//! Many HTTPS receivers in a few threads: what a bench sends to must cost little itself.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::authority::{self, Certificate};
use crate::support::clock::wait_for;

/// Listens on ports of 127.0.0.1 until it is dropped, and answers 200 to everything.
pub(crate) struct Farm {
    addresses: Vec<SocketAddr>,
    arrivals: Arc<Arrivals>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Arrivals {
    count: AtomicUsize,
    connections: AtomicUsize,
    /// When the webhook of each scan came first.
    of_scan: Mutex<HashMap<String, Instant>>,
}

impl Farm {
    pub(crate) fn start(receivers: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let tls = TlsAcceptor::from(authority::server_config(Certificate::Good));
        let arrivals = Arc::<Arrivals>::default();
        let addresses = runtime.block_on(async {
            let mut addresses = Vec::new();
            for _ in 0..receivers {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                addresses.push(listener.local_addr().expect("bound"));
                tokio::spawn(receive(listener, tls.clone(), Arc::clone(&arrivals)));
            }
            addresses
        });
        Self { addresses, arrivals, _runtime: runtime }
    }

    /// The URL of the receiver of this number, counted round and round.
    pub(crate) fn url(&self, number: usize) -> String {
        format!("https://{}/hook", self.addresses[number % self.addresses.len()])
    }

    pub(crate) fn count(&self) -> usize {
        self.arrivals.count.load(Ordering::SeqCst)
    }

    /// Connections that were opened.
    pub(crate) fn connections(&self) -> usize {
        self.arrivals.connections.load(Ordering::SeqCst)
    }

    /// Until so many came; how long that took from now.
    pub(crate) fn wait_for(&self, count: usize, within: Duration) -> Duration {
        let begun = Instant::now();
        wait_for("webhooks", within, || (self.count() >= count).then(|| begun.elapsed()))
    }

    /// When the webhook of a scan came, once it did.
    pub(crate) fn arrival(&self, scan: &str) -> Option<Instant> {
        self.arrivals.of_scan.lock().unwrap_or_else(PoisonError::into_inner).get(scan).copied()
    }
}

async fn receive(listener: TcpListener, tls: TlsAcceptor, arrivals: Arc<Arrivals>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, arrivals) = (tls.clone(), Arc::clone(&arrivals));
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            arrivals.connections.fetch_add(1, Ordering::SeqCst);
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request| answer(request, Arc::clone(&arrivals)));
            // A sender that goes away is its own business.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, arrivals: Arc<Arrivals>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let at = Instant::now();
    if let Ok(body) = request.into_body().collect().await {
        if let Some(scan) = scan_id(&body.to_bytes()) {
            arrivals.of_scan.lock().unwrap_or_else(PoisonError::into_inner).entry(scan).or_insert(at);
        }
        arrivals.count.fetch_add(1, Ordering::SeqCst);
    }
    Ok(Response::new(Empty::new()))
}

/// Found without reading the JSON: a bench has no time for it.
fn scan_id(body: &[u8]) -> Option<String> {
    let start = body.windows(4).position(|window| window == b"scn_")?;
    body.get(start..start + 30).map(|id| String::from_utf8_lossy(id).into_owned())
}
