//! The way of a scan through this process: judged in memory where it is small and somebody waits, else through the queue.

mod express;
mod fetched;
mod places;
mod queue;

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use filesafety_model::{EventId, ScanId, Timestamp};
use filesafety_store::{FileFacts, Lease, Outcome, Store};
use tokio::sync::{Semaphore, oneshot, watch};

use super::{
    gate::Gates,
    judge::{Judge, Judged},
};
use crate::{announce, clock, egress::Egress, metrics::Metrics};

pub(crate) use express::{Express, ExpressFault};

/// How long a claim holds without being renewed.
const LEASE: Duration = Duration::from_secs(60);
const RENEW_EVERY: Duration = Duration::from_secs(15);
/// For giving scans back at the end.
const RELEASING: Duration = Duration::from_secs(2);
/// URLs that are fetched at once; more wait without holding anything.
const FETCHES: usize = 32;
/// Small files judged in memory at once, for each thread; more go through the queue.
const EXPRESS_PER_THREAD: usize = 64;

/// Everything that scans share.
pub(crate) struct Desk {
    pub(crate) store: Store,
    pub(crate) judge: Judge,
    pub(crate) gates: Gates,
    pub(crate) egress: Egress,
    pub(crate) file_max: u64,
    pub(crate) fetch_timeout: Duration,
    pub(crate) metrics: Arc<Metrics>,
    /// Scans that run here and have a row, with their leases.
    running: Mutex<HashMap<ScanId, Lease>>,
    waiting: Mutex<HashMap<ScanId, Vec<oneshot::Sender<()>>>>,
    draining: watch::Sender<bool>,
    fetches: Arc<Semaphore>,
    express: Arc<Semaphore>,
}

/// A scan that ends, as far as its end has to know it.
struct Ending<'a> {
    id: ScanId,
    metadata: Option<&'a str>,
    webhook: bool,
}

/// Whether the scan's row has the file's facts.
#[derive(Clone, Copy)]
enum FactsAre {
    Known,
    News,
}

/// What a desk is made of.
pub(crate) struct DeskParts {
    pub(crate) store: Store,
    pub(crate) judge: Judge,
    pub(crate) gates: Gates,
    pub(crate) egress: Egress,
    pub(crate) file_max: u64,
    pub(crate) fetch_timeout: Duration,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) threads: NonZeroUsize,
}

impl Desk {
    pub(crate) fn new(parts: DeskParts) -> Arc<Self> {
        let DeskParts { store, judge, gates, egress, file_max, fetch_timeout, metrics, threads } = parts;
        Arc::new(Self {
            store,
            judge,
            gates,
            egress,
            file_max,
            fetch_timeout,
            metrics,
            running: Mutex::default(),
            waiting: Mutex::default(),
            draining: watch::Sender::new(false),
            fetches: Arc::new(Semaphore::new(FETCHES)),
            express: Arc::new(Semaphore::new(EXPRESS_PER_THREAD * threads.get())),
        })
    }

    /// Resolves when `scan` has ended in this process. Ask before the scan is accepted, so as not to miss it.
    pub(crate) fn ended(&self, scan: ScanId) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
        waiting.entry(scan).or_default().push(sender);
        receiver
    }

    /// Whether a caller waits for the end of `scan`.
    fn is_awaited(&self, scan: ScanId) -> bool {
        self.waiting().get(&scan).is_some_and(|senders| senders.iter().any(|sender| !sender.is_closed()))
    }

    /// Starts no more scans; those that run go on.
    pub(crate) fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Ends once scans are no more started.
    pub(crate) async fn draining(&self) {
        // The sender lives as long as the desk.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// How many scans with a row run here.
    pub(crate) fn running_count(&self) -> usize {
        self.running().len()
    }

    /// Gives every scan that still runs back to the queue; it does not count as a crash.
    pub(crate) async fn release_all(&self) {
        let leases: Vec<_> = self.running().drain().map(|(_, lease)| lease).collect();
        if leases.is_empty() {
            return;
        }
        match tokio::time::timeout(RELEASING, self.store.release_many(&leases)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "scans could not be given back; their leases will run out"),
            Err(_) => tracing::warn!("the store takes long to take scans back; their leases will run out"),
        }
    }

    /// What is written down when a scan ends. `facts` are the file's; they go into its row where `news` says that it has none yet.
    fn outcome(&self, scan: &Ending<'_>, facts: Option<&FileFacts>, news: FactsAre, judged: Judged) -> Outcome {
        let at: Timestamp = clock::now();
        let event = EventId::new(at, clock::entropy());
        let Judged { judgement, fingerprint } = judged;
        let finished = announce::Finished {
            scan: scan.id,
            judgement: &judgement,
            digest: facts.map(|facts| &facts.sha256),
            metadata: scan.metadata,
            at,
        };
        let announcement = announce::scan_complete(event, &finished);
        let delivery = scan.webhook.then(|| self.gates.first_delivery(scan.id, at));
        let file = match news {
            FactsAre::News => facts.cloned(),
            FactsAre::Known => None,
        };
        Outcome { at, file, judgement, fingerprint, announcement, delivery }
    }

    /// Forgets a lease, unless the scan has a newer one.
    fn forget(&self, lease: Lease) {
        let mut running = self.running();
        if running.get(&lease.scan).is_some_and(|held| held.attempt == lease.attempt) {
            running.remove(&lease.scan);
        }
    }

    fn announce_end(&self, scan: ScanId) {
        for sender in self.waiting().remove(&scan).unwrap_or_default() {
            let _ = sender.send(());
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<ScanId, Lease>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<ScanId, Vec<oneshot::Sender<()>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
