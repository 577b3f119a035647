//! The way of a scan through this process: judged in memory where it is small and somebody waits, else through the queue.

mod express;
mod fetched;
mod queue;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use filesafety_model::{EventId, Judgement, ScanId, Timestamp};
use filesafety_store::{FileFacts, Lease, Outcome, Store};
use tokio::sync::{oneshot, watch};

use super::{gate::Gates, judge::Judge};
use crate::{announce, clock, egress::Egress, metrics::Metrics};

pub(crate) use express::ExpressFault;

/// How long a claim holds without being renewed.
const LEASE: Duration = Duration::from_secs(60);
const RENEW_EVERY: Duration = Duration::from_secs(15);

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
}

impl Desk {
    pub(crate) fn new(parts: DeskParts) -> Arc<Self> {
        let DeskParts { store, judge, gates, egress, file_max, fetch_timeout, metrics } = parts;
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
        for lease in leases {
            if let Err(error) = self.store.release(lease).await {
                tracing::warn!(%error, scan = %lease.scan, "a scan could not be given back; its lease will run out");
            }
        }
    }

    /// What is written down when a scan ends.
    fn outcome(
        &self,
        scan: ScanId,
        file: Option<FileFacts>,
        digest: Option<&FileFacts>,
        judgement: Judgement,
        metadata: Option<&str>,
        webhook: bool,
    ) -> Outcome {
        let at: Timestamp = clock::now();
        let event = EventId::new(at, clock::entropy());
        let facts = file.as_ref().or(digest);
        let finished = announce::Finished { scan, judgement: &judgement, digest: facts.map(|facts| &facts.sha256), metadata, at };
        let announcement = announce::scan_complete(event, &finished);
        let delivery = webhook.then(|| self.gates.first_delivery(scan, at));
        Outcome { at, file, judgement, announcement, delivery }
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
