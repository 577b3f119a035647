//! What every handler shares, built once.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use filesafety_model::AccountId;
use filesafety_store::Store;

use crate::{
    api::{auth::Keys, events::OpenStreams, rate::RateLimiter},
    config::Config,
    egress::WebhookUrlPolicy,
    metrics::Metrics,
    worker::{delivery::Deliverer, gate::Gates, scan::Desk},
};

pub(crate) type Shared = Arc<AppState>;

/// The handles of a running service.
pub(crate) struct AppState {
    pub(crate) config: Config,
    /// What upload URLs start with.
    pub(crate) public_url: String,
    pub(crate) store: Store,
    pub(crate) desk: Arc<Desk>,
    pub(crate) gates: Gates,
    pub(crate) deliverer: Arc<Deliverer>,
    pub(crate) keys: Keys,
    pub(crate) submissions: RateLimiter,
    pub(crate) reads: RateLimiter,
    pub(crate) webhook_urls: WebhookUrlPolicy,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) idempotency: InFlightKeys,
    pub(crate) streams: OpenStreams,
    pub(crate) started: Instant,
}

/// Idempotency keys whose first request is still being read. A crash forgets them together with the request.
#[derive(Clone, Default)]
pub(crate) struct InFlightKeys(Arc<Mutex<HashSet<(AccountId, String)>>>);

/// Lets go of the key when dropped.
pub(crate) struct InFlightKey {
    keys: InFlightKeys,
    entry: (AccountId, String),
}

impl InFlightKeys {
    /// `None` while another request holds the key.
    pub(crate) fn hold(&self, account: AccountId, key: &str) -> Option<InFlightKey> {
        let entry = (account, key.to_owned());
        let fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.clone());
        fresh.then(|| InFlightKey { keys: self.clone(), entry })
    }
}

impl Drop for InFlightKey {
    fn drop(&mut self) {
        self.keys.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.entry);
    }
}
