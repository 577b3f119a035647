//! Delivers webhooks: takes what is due from the store, signs and sends it, writes down how it went.
//!
//! The store hands out deliveries fairly between hosts and never more than [`PER_HOST`] of one host at once, so that a receiver which is
//! slow or down takes nothing from the others. A try is counted before it is sent; a crash may repeat a delivery, but loses none.

mod secrets;
mod signing;
#[cfg(test)]
mod tests;

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use filesafety_model::{AccountId, EventId, RetrySchedule, Timestamp};
use filesafety_store::{AttemptError, AttemptRecord, DeliveryClaim, Next, Store, StoreError, WebhookTarget};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    announce, clock,
    egress::{self, Egress, Outcome, WebhookRequest},
};
use secrets::SecretCache;
use signing::headers;

/// Attempts under way at once.
const ATTEMPTS: usize = 512;
/// Attempts under way to one host.
const PER_HOST: u32 = 16;
/// A claim outlives its attempt by so much, for writing the outcome down.
const CLAIM_MARGIN: Duration = Duration::from_secs(30);
/// Looks at the store so often even if nothing calls for it.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long a store that does not answer is left alone.
const BLOCKED_FOR: Duration = Duration::from_secs(1);
/// An outcome that cannot be written is tried again so often, a little later each time.
const WRITES: u32 = 6;
const WRITE_PAUSE: Duration = Duration::from_millis(200);

/// Delivers the webhooks of this process.
pub(crate) struct Deliverer {
    store: Store,
    egress: Egress,
    retry: RetrySchedule,
    timeout: Duration,
    wake: Arc<Notify>,
    secrets: SecretCache,
    delivered: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
    draining: watch::Sender<bool>,
    ended: watch::Sender<bool>,
}

/// Attempts of this process, by what followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeliveryCounts {
    pub(crate) delivered: u64,
    /// Another try follows.
    pub(crate) failed: u64,
    pub(crate) abandoned: u64,
}

/// What to wait for before looking at the store again.
enum Pause {
    /// For an attempt to end.
    ForRoom,
    /// For something new, or as long.
    ForNews(Duration),
}

/// An attempt and what the receiver asked for.
struct Tried {
    record: AttemptRecord,
    retry_after: Option<Duration>,
}

impl Deliverer {
    /// `timeout` is for one attempt; `wake` calls for a look at the store.
    pub(crate) fn new(store: Store, egress: Egress, retry: RetrySchedule, timeout: Duration, wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            secrets: SecretCache::default(),
            store,
            egress,
            retry,
            timeout,
            wake,
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            draining: watch::Sender::new(false),
            ended: watch::Sender::new(false),
        })
    }

    /// Delivers until drained. Dropping the future cuts attempts off; they are made again once their claims run out.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut attempts = JoinSet::new();
        let mut draining = self.draining.subscribe();
        let mut news = self.store.signals().deliveries;
        while !*draining.borrow_and_update() {
            while attempts.try_join_next().is_some() {}
            news.mark_unchanged();
            let (room, patience) = match self.launch(&mut attempts).await {
                Pause::ForRoom => (true, LOOK_EVERY),
                Pause::ForNews(patience) => (false, patience),
            };
            tokio::select! {
                _ = draining.changed() => {}
                () = self.wake.notified() => {}
                Ok(()) = news.changed() => {}
                Some(_) = attempts.join_next(), if room => {}
                () = tokio::time::sleep(patience) => {}
            }
        }
        while attempts.join_next().await.is_some() {}
        self.ended.send_replace(true);
    }

    /// Calls for a look at the store.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Starts no more attempts.
    pub(crate) fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Ready once the attempts under way at [`Deliverer::drain`] have ended and are written down.
    pub(crate) async fn drained(&self) {
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    pub(crate) fn counts(&self) -> DeliveryCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DeliveryCounts { delivered: count(&self.delivered), failed: count(&self.failed), abandoned: count(&self.abandoned) }
    }

    /// Sends a signed `webhook.test`, once; nothing of it is kept.
    pub(crate) async fn send_test(&self, account: AccountId, target: &WebhookTarget) -> Result<AttemptRecord, StoreError> {
        let now = clock::now();
        let event = EventId::new(now, clock::entropy());
        let body = announce::webhook_test(account, now);
        Ok(self.try_once(account, event, &target.url, body).await?.record)
    }

    /// Starts attempts at what is due, as many as there is room for.
    async fn launch(self: &Arc<Self>, attempts: &mut JoinSet<()>) -> Pause {
        let room = ATTEMPTS.saturating_sub(attempts.len());
        if room == 0 {
            return Pause::ForRoom;
        }
        match self.claim(room).await {
            Ok((claims, wait)) => {
                let all = claims.len() < room;
                for claim in claims {
                    attempts.spawn(self.clone().attempt(claim));
                }
                if all { Pause::ForNews(wait) } else { Pause::ForRoom }
            }
            Err(error) => {
                tracing::warn!(%error, "due webhooks cannot be read");
                Pause::ForNews(BLOCKED_FOR)
            }
        }
    }

    /// What may go now, and how long until more is due. What waits for its host does so until an attempt ends, which the store signals.
    async fn claim(&self, room: usize) -> Result<(Vec<DeliveryClaim>, Duration), StoreError> {
        let now = clock::now();
        let limit = u32::try_from(room).unwrap_or(u32::MAX);
        let until = now.plus(self.timeout).plus(CLAIM_MARGIN);
        let claims = self.store.due_deliveries(now, until, limit, PER_HOST).await?;
        // The claims stand: an error here must not drop them.
        let next = self.store.next_due(now).await.unwrap_or(Some(now.plus(BLOCKED_FOR)));
        // Measured from before the claim: what became due meanwhile is due at once.
        Ok((claims, next.map_or(LOOK_EVERY, |due| due.since(clock::now())).min(LOOK_EVERY)))
    }

    async fn attempt(self: Arc<Self>, claim: DeliveryClaim) {
        let tried = match self.try_once(claim.account, claim.event, &claim.target.url, claim.body.clone()).await {
            Ok(tried) => tried,
            Err(error) => {
                tracing::warn!(%error, delivery = %claim.id, "the signing secrets cannot be read; the webhook waits");
                // Nothing was sent, so no try is used up. If this fails too, the claim runs out by itself.
                let _ = self.store.return_delivery(&claim, clock::now().plus(BLOCKED_FOR)).await;
                return;
            }
        };
        let next = next_after(&self.retry, &claim, &tried, clock::now(), random_share());
        self.note(&claim, &tried.record, next);
        self.write_down(&claim, tried.record, next).await;
    }

    async fn try_once(&self, account: AccountId, event: EventId, url: &str, body: String) -> Result<Tried, StoreError> {
        let secrets = self.secrets.of(&self.store, account).await?;
        let started_at = clock::now();
        if secrets.is_empty() {
            let text = "the account has no signing secret, and nothing is sent unsigned".to_owned();
            return Ok(Tried { record: unsent(started_at, AttemptError { kind: "no_secret".to_owned(), text }), retry_after: None });
        }
        let headers = headers(&secrets, event, started_at, body.as_bytes());
        let request = WebhookRequest { url, headers, body: Bytes::from(body), timeout: self.timeout };
        let outcome = self.egress.send(request).await;
        Ok(Tried { retry_after: outcome.retry_after, record: record(started_at, outcome) })
    }

    fn note(&self, claim: &DeliveryClaim, record: &AttemptRecord, next: Next) {
        let counter = match next {
            Next::Delivered => &self.delivered,
            Next::RetryAt(_) => &self.failed,
            Next::Abandoned => &self.abandoned,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let (url, error) = (egress::without_query(&claim.target.url), record.error.as_ref().map(|error| error.text.as_str()));
        match next {
            Next::Delivered => tracing::debug!(scan = %claim.scan, event = %claim.event, url, millis = record.millis, "webhook delivered"),
            Next::RetryAt(at) => tracing::info!(scan = %claim.scan, event = %claim.event, url, error, next = %at, "webhook not delivered"),
            Next::Abandoned => tracing::warn!(scan = %claim.scan, event = %claim.event, url, error, "webhook abandoned"),
        }
    }

    async fn write_down(&self, claim: &DeliveryClaim, record: AttemptRecord, next: Next) {
        for write in 1..=WRITES {
            match self.store.finish_attempt(claim, record.clone(), next).await {
                Ok(()) => return,
                // The scan was erased, or the claim ran out and the delivery is someone else's.
                Err(StoreError::LeaseLost | StoreError::NotFound) => return,
                Err(error @ (StoreError::Unavailable(_) | StoreError::Conflict(_) | StoreError::Corrupt(_))) if write == WRITES => {
                    tracing::error!(%error, delivery = %claim.id, "the outcome of a webhook cannot be written down; it is sent again");
                }
                Err(StoreError::Unavailable(_) | StoreError::Conflict(_) | StoreError::Corrupt(_)) => {
                    tokio::time::sleep(WRITE_PAUSE * write).await;
                }
            }
        }
    }
}

fn next_after(retry: &RetrySchedule, claim: &DeliveryClaim, tried: &Tried, now: Timestamp, jitter: f64) -> Next {
    if tried.record.error.is_none() {
        return Next::Delivered;
    }
    retry.next_attempt_at(now, claim.try_number, jitter, tried.retry_after).map_or(Next::Abandoned, Next::RetryAt)
}

/// A number in 0..1 that spreads retries; nobody gains by guessing it.
fn random_share() -> f64 {
    (RandomState::new().hash_one(0u8) >> 11) as f64 / (1u64 << 53) as f64
}

fn record(started_at: Timestamp, outcome: Outcome) -> AttemptRecord {
    AttemptRecord {
        started_at,
        millis: u64::try_from(outcome.elapsed.as_millis()).unwrap_or(u64::MAX),
        address: outcome.address.map(|address| address.to_string()),
        status: outcome.status.map(|status| status.as_u16()),
        error: outcome.error.map(|error| AttemptError { kind: error.kind.as_str().to_owned(), text: error.text }),
        response_head: outcome.body_head.into(),
    }
}

fn unsent(started_at: Timestamp, error: AttemptError) -> AttemptRecord {
    AttemptRecord { started_at, millis: 0, address: None, status: None, error: Some(error), response_head: Vec::new() }
}
