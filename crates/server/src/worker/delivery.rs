//! Delivers webhooks: takes what is due from the store, signs and sends it, writes down how it went.
//!
//! The store gives lines of deliveries their turns; [`slots`] decides how many of a line may go, so that a receiver which is slow or down takes
//! nothing from the others. A try is counted before it is sent; a crash may repeat a delivery, but loses none.

mod circuit;
mod drift;
mod record;
mod secrets;
mod signing;
mod slots;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use filesafety_model::{AccountId, EventId, RetrySchedule, Timestamp};
use filesafety_store::{
    AttemptError, AttemptRecord, DeliveryClaim, FinishedAttempt, Lane, Line, Next, Store, StoreError, Turn, WebhookTarget,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};

use crate::{
    announce, clock,
    egress::{self, Egress, Outcome, WebhookRequest},
};
use drift::{Drift, Jump};
use record::Concluded;
use secrets::SecretCache;
use signing::headers;
use slots::{Ended, SLOTS, Slots, YOUNG};

/// Claims in one transaction.
const BATCH: usize = 256;
/// A claim outlives its attempt by so much, for writing the outcome down.
const CLAIM_MARGIN: Duration = Duration::from_secs(30);
/// Looks at the store so often even if nothing calls for it.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long a store that does not answer is left alone.
const BLOCKED_FOR: Duration = Duration::from_secs(1);

/// Delivers the webhooks of this process.
pub(crate) struct Deliverer {
    store: Store,
    egress: Egress,
    retry: RetrySchedule,
    timeout: Duration,
    wake: Arc<Notify>,
    secrets: SecretCache,
    slots: Arc<Mutex<Slots>>,
    /// Outcomes that wait to be written down.
    unwritten: AtomicUsize,
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

/// An attempt and what the receiver asked for.
struct Tried {
    record: AttemptRecord,
    retry_after: Option<Duration>,
}

/// Slots taken in a look, by line, until their claims are there.
type Grants = HashMap<(String, AccountId, Lane), usize>;

impl Deliverer {
    /// `timeout` is for one attempt; `wake` calls for a look at the store.
    pub(crate) fn new(store: Store, egress: Egress, retry: RetrySchedule, timeout: Duration, wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            secrets: SecretCache::default(),
            slots: Arc::default(),
            unwritten: AtomicUsize::new(0),
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
        let (concluded, inbox) = mpsc::unbounded_channel();
        // Dropped with this future, like the attempts.
        let mut recorder = JoinSet::new();
        recorder.spawn(self.clone().record(inbox));
        let mut chores = JoinSet::new();
        let mut attempts = JoinSet::new();
        let mut draining = self.draining.subscribe();
        let mut news = self.store.signals().deliveries;
        let mut drift = Drift::new(clock::now(), Instant::now());
        // The clock may have been set while the service was down. With very many deliveries that takes a while, and nobody waits for it.
        chores.spawn(self.clone().realign());
        while !*draining.borrow_and_update() {
            while attempts.try_join_next().is_some() || chores.try_join_next().is_some() {}
            news.mark_unchanged();
            self.heed(drift.read(clock::now(), Instant::now()), &mut chores).await;
            let patience = self.look(&mut attempts, &concluded).await;
            tokio::select! {
                _ = draining.changed() => {}
                () = self.wake.notified() => {}
                Ok(()) = news.changed() => {}
                () = tokio::time::sleep(patience) => {}
            }
        }
        while attempts.join_next().await.is_some() {}
        drop(concluded);
        while recorder.join_next().await.is_some() {}
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

    /// Hosts whose circuit is open.
    pub(crate) fn open_circuits(&self) -> usize {
        self.slots().open_circuits()
    }

    /// Starts attempts at what is due, as many as there is room for. How long nothing more is due.
    async fn look(self: &Arc<Self>, attempts: &mut JoinSet<()>, concluded: &mpsc::UnboundedSender<Concluded>) -> Duration {
        // The store is slow, or blocked: what ended must not pile up.
        if self.unwritten.load(Ordering::Relaxed) >= SLOTS {
            return BLOCKED_FOR;
        }
        let (now, started) = (clock::now(), Instant::now());
        let until = now.plus(self.timeout).plus(CLAIM_MARGIN);
        let grants: Arc<Mutex<Grants>> = Arc::default();
        let turn = {
            let (slots, grants) = (self.slots.clone(), grants.clone());
            move |line: &Line| {
                let turn = lock(&slots).turn(line, now, started);
                if let Turn::Take(count) = turn {
                    *lock(&grants).entry((line.host.clone(), line.account, line.lane)).or_default() += count;
                }
                turn
            }
        };
        let claimed = self.store.claim_deliveries(now, until, BATCH, turn).await;
        let mut grants = std::mem::take(&mut *lock(&grants));
        let patience = match claimed {
            Ok(claimed) => {
                for claim in claimed.claims {
                    if let Some(count) = grants.get_mut(&(claim.host.clone(), claim.account, claim.lane)) {
                        *count = count.saturating_sub(1);
                    }
                    attempts.spawn(self.clone().begin(claim, started, Instant::now(), concluded.clone()));
                }
                let until_next = claimed.next.map_or(LOOK_EVERY, |next| next.since(clock::now()));
                // A lane without room may have some as soon as its youngest attempts are no longer young.
                if claimed.no_room { until_next.min(YOUNG) } else { until_next }
            }
            Err(error) => {
                tracing::warn!(%error, "due webhooks cannot be read");
                BLOCKED_FOR
            }
        };
        self.give_back(grants, started);
        patience.min(LOOK_EVERY)
    }

    fn give_back(&self, grants: Grants, started: Instant) {
        let mut slots = self.slots();
        for ((host, account, lane), count) in grants {
            for _ in 0..count {
                slots.give_back(&host, account, lane, started);
            }
        }
    }

    /// What a clock that was set would spoil.
    async fn heed(self: &Arc<Self>, jump: Option<Jump>, chores: &mut JoinSet<()>) {
        match jump {
            None => {}
            Some(Jump::Forward(by)) => {
                tracing::warn!(seconds = by.as_secs(), "the clock went forward; some webhooks are tried again early");
                if let Err(error) = self.store.extend_claims(by).await {
                    tracing::warn!(%error, "claims may run out early; a webhook may be sent twice");
                }
            }
            Some(Jump::Back(by)) => {
                tracing::warn!(seconds = by.as_secs(), "the clock went back; webhooks are planned anew");
                chores.spawn(self.clone().realign());
            }
        }
    }

    async fn realign(self: Arc<Self>) {
        let now = clock::now();
        if let Err(error) = self.store.realign_deliveries(now, now.plus(self.retry.longest_wait())).await {
            tracing::warn!(%error, "webhooks cannot be planned anew; some may be late");
        }
    }

    async fn begin(self: Arc<Self>, claim: DeliveryClaim, started: Instant, let_go: Instant, concluded: mpsc::UnboundedSender<Concluded>) {
        self.slots().feel(let_go.elapsed());
        self.attempt(claim, started, concluded).await;
    }

    async fn attempt(self: Arc<Self>, claim: DeliveryClaim, started: Instant, concluded: mpsc::UnboundedSender<Concluded>) {
        let tried = match self.try_once(claim.account, claim.event, &claim.target.url, claim.body.clone()).await {
            Ok(tried) => tried,
            Err(error) => {
                tracing::warn!(%error, delivery = %claim.id, "the signing secrets cannot be read; the webhook waits");
                self.slots().end(&claim.host, claim.account, claim.lane, started, Ended::Unsent, Instant::now());
                // Nothing was sent, so no try is used up. If this fails too, the claim runs out by itself.
                let _ = self.store.return_delivery(&claim, clock::now().plus(BLOCKED_FOR)).await;
                return;
            }
        };
        let next = next_after(&self.retry, &claim, &tried, clock::now(), random_share());
        self.note(&claim, &tried.record, next);
        let ended = match &tried.record.error {
            None => Ended::Succeeded,
            Some(error) if error.kind == NO_SECRET => Ended::Unsent,
            Some(_) => Ended::Failed,
        };
        let (account, lane) = (claim.account, claim.lane);
        let attempt = FinishedAttempt { delivery: claim.id, attempt: claim.attempt, host: claim.host, record: tried.record, next };
        self.conclude(Concluded { attempt, account, lane, started, ended }, &concluded);
    }

    async fn try_once(&self, account: AccountId, event: EventId, url: &str, body: String) -> Result<Tried, StoreError> {
        let secrets = self.secrets.of(&self.store, account).await?;
        let started_at = clock::now();
        if secrets.is_empty() {
            let text = "the account has no signing secret, and nothing is sent unsigned".to_owned();
            return Ok(Tried { record: unsent(started_at, AttemptError { kind: NO_SECRET.to_owned(), text }), retry_after: None });
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

    fn slots(&self) -> MutexGuard<'_, Slots> {
        lock(&self.slots)
    }
}

/// The kind of failure of an account without a signing secret.
const NO_SECRET: &str = "no_secret";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        tls: outcome.tls,
        status: outcome.status.map(|status| status.as_u16()),
        error: outcome.error.map(|error| AttemptError { kind: error.kind.as_str().to_owned(), text: error.text }),
        response_head: outcome.body_head.into(),
    }
}

fn unsent(started_at: Timestamp, error: AttemptError) -> AttemptRecord {
    AttemptRecord { started_at, millis: 0, address: None, tls: None, status: None, error: Some(error), response_head: Vec::new() }
}
