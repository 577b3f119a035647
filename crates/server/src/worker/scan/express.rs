//! A small file that somebody waits for: judged in memory, written down with its verdict in one transaction.
//!
//! When the scan runs longer than two seconds, or the caller goes away, file and scan are written out first, and the scan goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use filesafety_model::ScanTypes;
use filesafety_store::{Accepted, Beside, Earlier, FileFacts, Lease, Place, QuotaExceeded, Recorded, ScanRecord, StoreError};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{Desk, Ending, FactsAre, LEASE};
use crate::{
    clock, intake,
    state::InFlightKey,
    worker::{
        judge::{FileInHand, Judged, Terms},
        ticket::Ticket,
        turns::Lane,
    },
};

/// A file held only in memory is written out after this time.
const MEMORY_ONLY: Duration = Duration::from_secs(2);

/// A scan that this process judges in memory.
pub(crate) struct Express {
    /// Resolves with the finished scan, or with what kept it from being accepted. Dropping it tells that the caller is gone.
    pub(crate) finished: oneshot::Receiver<Result<Box<ScanRecord>, ExpressFault>>,
    /// Resolves once the scan is in the store before its verdict; dropped unused when it never is.
    pub(crate) accepted: oneshot::Receiver<()>,
}

/// Why there is no verdict to answer with.
#[derive(Debug)]
pub(crate) enum ExpressFault {
    Quota(QuotaExceeded),
    Idempotency(Earlier),
    Overloaded,
    /// Nothing was accepted.
    Store(StoreError),
    /// It was accepted, and its verdict could not be written down; the queue goes on with it.
    Underway,
}

impl From<StoreError> for ExpressFault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Where the outcome of an express scan goes.
struct Caller {
    finished: oneshot::Sender<Result<Box<ScanRecord>, ExpressFault>>,
    accepted: Option<oneshot::Sender<()>>,
}

/// A judgement on its way.
struct Judging {
    task: JoinHandle<Judged>,
    /// Whether a thread works on it.
    begun: Arc<AtomicBool>,
    /// Whether the caller still waits.
    awaited: Arc<AtomicBool>,
    types: ScanTypes,
}

impl Desk {
    /// Judges a file in memory. `None` when as many as may are at it: the queue has to take it.
    ///
    /// `key` is let go of once the scan is written down, or is not to be.
    pub(crate) fn express(
        self: &Arc<Self>,
        ticket: &Ticket,
        facts: &FileFacts,
        content: &Bytes,
        key: &mut Option<InFlightKey>,
    ) -> Option<Express> {
        let place = self.express.clone().try_acquire_owned().ok()?;
        let (ticket, facts, content, key) = (ticket.clone(), facts.clone(), content.clone(), key.take());
        let (finished_sender, finished) = oneshot::channel();
        let (accepted_sender, accepted) = oneshot::channel();
        let desk = self.clone();
        tokio::spawn(async move {
            let id = ticket.id();
            let mut caller = Caller { finished: finished_sender, accepted: Some(accepted_sender) };
            let result = desk.run_express(ticket, facts, content, &mut caller).await;
            if let Err(ExpressFault::Store(error)) = &result {
                tracing::warn!(%error, scan = %id, "a scan judged in memory could not be written down");
            }
            drop((key, place));
            let _ = caller.finished.send(result);
            desk.announce_end(id);
        });
        Some(Express { finished, accepted })
    }

    async fn run_express(
        self: &Arc<Self>,
        ticket: Ticket,
        facts: FileFacts,
        content: Bytes,
        caller: &mut Caller,
    ) -> Result<Box<ScanRecord>, ExpressFault> {
        let mut judging = self.begin(&ticket, &facts, content.clone());
        let judged = tokio::select! {
            biased;
            judged = judging.ended(self) => Some(judged),
            () = caller.finished.closed() => None,
            () = tokio::time::sleep(MEMORY_ONLY) => None,
        };
        if let Some(judged) = judged {
            return self.record(ticket, facts, judged, false).await;
        }
        let lease = match self.write_out(&ticket, &facts, &content, &judging).await {
            Ok(lease) => lease,
            Err(fault) => {
                judging.task.abort();
                return Err(fault);
            }
        };
        drop(content);
        if let Some(accepted) = caller.accepted.take() {
            let _ = accepted.send(());
        }
        let judged = judging.ended_unless_left(self, caller).await;
        let ending = Ending { id: ticket.id(), metadata: ticket.metadata(), webhook: ticket.has_webhook() };
        let outcome = self.outcome(&ending, Some(&facts), FactsAre::Known, judged);
        let mut record = ticket.finished(&outcome, false);
        record.file = Some(facts);
        match self.end(lease, outcome).await {
            Ok(()) => Ok(Box::new(record)),
            Err(error) => {
                tracing::warn!(%error, scan = %lease.scan, "a scan goes back to the queue");
                let _ = self.store.release(lease).await;
                Err(ExpressFault::Underway)
            }
        }
    }

    fn begin(self: &Arc<Self>, ticket: &Ticket, facts: &FileFacts, content: Bytes) -> Judging {
        let file = FileInHand {
            content: content.into(),
            name: facts.name.clone(),
            types: ticket.types(),
            lane: Lane::Sync,
            password: ticket.password().cloned(),
        };
        let begun = Arc::new(AtomicBool::new(false));
        let awaited = Arc::new(AtomicBool::new(true));
        let (desk, begins, waits) = (self.clone(), begun.clone(), awaited.clone());
        let types = file.types;
        let task = tokio::spawn(async move {
            let memory = desk.judge.memory.reserve(file.content.len() as u64).await;
            let turn = desk.judge.turns.next(Lane::Sync).await;
            begins.store(true, Ordering::Release);
            let terms = Terms { awaited: &|| waits.load(Ordering::Relaxed), alone: false };
            desk.judge.judge(&file, memory, turn, terms).await
        });
        Judging { task, begun, awaited, types }
    }

    /// Writes down a scan with its judgement, its own or an earlier one's.
    pub(crate) async fn record(
        &self,
        ticket: Ticket,
        facts: FileFacts,
        judged: Judged,
        deduplicated: bool,
    ) -> Result<Box<ScanRecord>, ExpressFault> {
        let ending = Ending { id: ticket.id(), metadata: ticket.metadata(), webhook: ticket.has_webhook() };
        let outcome = self.outcome(&ending, Some(&facts), FactsAre::News, judged);
        let record = ticket.finished(&outcome, deduplicated);
        let verdict = outcome.judgement.verdict;
        match ticket.record(&self.store, outcome, deduplicated).await? {
            Recorded::Recorded => {
                self.metrics.count_verdict(verdict, deduplicated);
                Ok(Box::new(record))
            }
            Recorded::QuotaExceeded(exceeded) => Err(ExpressFault::Quota(exceeded)),
            Recorded::IdempotencyTaken(earlier) => Err(ExpressFault::Idempotency(earlier)),
        }
    }

    /// Puts file and scan into the store, leased to this process.
    async fn write_out(&self, ticket: &Ticket, facts: &FileFacts, content: &[u8], judging: &Judging) -> Result<Lease, ExpressFault> {
        let blob = intake::store(&self.store, content).await?;
        let now = clock::now();
        // A crash counts against a scan only where a thread works on it.
        let started = judging.begun.load(Ordering::Acquire);
        let place = Place::Running { until: now.plus(LEASE), started };
        let lease = match ticket.clone().accept(&self.store, now, facts.clone(), blob, place).await? {
            Accepted::Running(lease) => lease,
            Accepted::QuotaExceeded(exceeded) => return Err(ExpressFault::Quota(exceeded)),
            Accepted::IdempotencyTaken(earlier) => return Err(ExpressFault::Idempotency(earlier)),
            Accepted::Overloaded | Accepted::Queued => return Err(ExpressFault::Overloaded),
        };
        self.running().insert(lease.scan, lease);
        if !started && judging.begun.load(Ordering::Acquire) {
            self.store.start(lease, Beside::Others).await?;
        }
        Ok(lease)
    }
}

impl Judging {
    /// As [`Judging::ended`]; from the moment the caller leaves a silent engine has longer to answer.
    async fn ended_unless_left(&mut self, desk: &Desk, caller: &mut Caller) -> Judged {
        let awaited = self.awaited.clone();
        let judged = self.ended(desk);
        tokio::pin!(judged);
        tokio::select! {
            biased;
            judged = &mut judged => return judged,
            () = caller.finished.closed() => awaited.store(false, Ordering::Relaxed),
        }
        judged.await
    }

    async fn ended(&mut self, desk: &Desk) -> Judged {
        (&mut self.task).await.unwrap_or_else(|error| {
            tracing::error!(%error, "judging ended without a judgement");
            desk.judge.crashed(self.types)
        })
    }
}
