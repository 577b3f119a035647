//! Receives webhooks the safe way: checked, durable before the 200, handled exactly once as far as the handler is idempotent.
//!
//! ```no_run
//! use filesafety::receiver::{Receiver, sqlite::SqliteStore};
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let receiver = Receiver::builder(SqliteStore::open("webhooks.db")?)
//!     .secret(std::env::var("FILESAFETY_WEBHOOK_SECRET")?.parse()?)
//!     .on_clean(|event| async move { Ok(println!("publish {}", event.scan_id)) })
//!     .on_failed(|event| async move { Ok(println!("{} failed, worth another try: {}", event.scan_id, event.retryable())) })
//!     .otherwise(|event| async move { Ok(println!("quarantine {}: {:?}", event.scan_id, event.verdict)) })
//!     .build()?;
//! // For an axum application: `Router::new().merge(receiver.router("/webhooks/filesafety"))`.
//! let service = receiver.service();
//! # drop(service);
//! # receiver.shutdown(std::time::Duration::from_secs(30)).await;
//! # Ok(())
//! # }
//! ```
//!
//! A request passes these checks, in this order: method, size (256 KiB) and content type, token of the URL, signature over the raw body,
//! duplicate, pending set. Then it is written to the inbox; once that is on the disk, 200 is answered. Handlers run afterwards, are
//! tried again with backoff, and what keeps failing becomes a dead letter.
//!
//! Events of one scan are handled one at a time. A crash may repeat an event whose handler had not come to its mark: handlers should be
//! idempotent, or commit with the mark ([`SqliteStore::in_transaction`](sqlite::SqliteStore::in_transaction)).

mod builder;
mod checks;
mod dead_letters;
mod dispatch;
mod handlers;
mod metrics;
mod pending;
mod scan_event;
mod service;
mod status;
pub mod store;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use axum::Router;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
};

pub use builder::{BuildError, Builder};
pub use dead_letters::DeadLetters;
pub use handlers::{HandlerError, HandlerFuture, Route, TransactionHandler};
pub use metrics::Metrics;
pub use pending::{PendingError, PendingSet};
pub use rusqlite;
pub use scan_event::ScanEvent;
pub use service::Service;
#[cfg(feature = "receiver-postgres")]
pub use store::postgres;
pub use store::{memory, sqlite};

/// The largest body that is read, in bytes. The service's own stay under 64 KiB.
pub const MAX_BODY: usize = 256 * 1024;

/// A running receiver: takes webhooks in and hands them to their handlers. Clones are the same receiver.
///
/// It runs until [`Receiver::shutdown`], or until the last clone and every service made of it are gone.
#[derive(Clone, Debug)]
pub struct Receiver {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    core: Arc<Core>,
    stop: watch::Sender<bool>,
    dispatcher: Mutex<Option<JoinHandle<()>>>,
}

/// What requests, handlers and pages share.
struct Core {
    store: Arc<dyn store::Store>,
    checks: checks::Checks,
    admission: store::Admission,
    routes: handlers::Routes,
    settings: builder::Settings,
    counters: metrics::Counters,
    /// Woken when an event came in or was revived.
    arrived: Notify,
    /// Memory for bodies under way, in KiB.
    body_room: Semaphore,
}

impl Receiver {
    /// A receiver that keeps its inbox in `store`.
    pub fn builder(store: impl store::Store) -> Builder {
        Builder::new(Arc::new(store))
    }

    /// Takes webhooks at `path`, say `/webhooks/filesafety`.
    pub fn router(&self, path: &str) -> Router {
        Router::new().route_service(path, self.service())
    }

    /// Takes webhooks as a tower service, whatever the path.
    pub fn service(&self) -> Service {
        Service::new(self.clone())
    }

    /// The page and the calls for those who run the receiver: counts, dead letters with replay, `POST /pending`, `GET /metrics`.
    /// It knows no password: bind it to a loopback address. Requests that name another host, or come from another site, are refused.
    pub fn status_router(&self) -> Router {
        status::router(self.clone())
    }

    /// Which scans the application submitted.
    pub fn pending(&self) -> PendingSet {
        PendingSet::of(Arc::clone(&self.core().store), Arc::clone(&self.core().settings.clock))
    }

    /// Events whose handler kept failing.
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::of(Arc::clone(self.core()))
    }

    /// What this receiver did since its start.
    pub fn metrics(&self) -> Metrics {
        self.core().counters.read()
    }

    /// How much the store holds now.
    pub async fn counts(&self) -> Result<store::Counts, store::StoreError> {
        self.core().store.counts().await
    }

    /// Stops handling: handlers that run get `patience` to end, then they are dropped and their events are handled again at the next start.
    /// Then the store is closed, and webhooks that still come are asked to come again (503). Stop the web server first.
    pub async fn shutdown(&self, patience: Duration) {
        self.running.stop.send_replace(true);
        let dispatcher = self.running.dispatcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut dispatcher) = dispatcher
            && tokio::time::timeout(patience, &mut dispatcher).await.is_err()
        {
            tracing::warn!("handlers still ran at the end; their events are handled again at the next start");
            dispatcher.abort();
        }
        if let Err(error) = self.core().store.close().await {
            tracing::warn!(%error, "the receiver's store could not be closed");
        }
    }

    fn core(&self) -> &Arc<Core> {
        &self.running.core
    }
}

impl Core {
    fn now(&self) -> SystemTime {
        (self.settings.clock)()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("admission", &self.admission).field("routes", &self.routes).finish_non_exhaustive()
    }
}
