//! A small file that somebody waits for: judged in memory, written down with its verdict in one transaction.
//!
//! When the scan runs longer than two seconds, or the caller goes away, file and scan are written out first, and the scan goes on.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use filesafety_model::Judgement;
use filesafety_store::{Accepted, Earlier, FileFacts, Lease, Place, QuotaExceeded, Recorded, ScanRecord, StoreError};
use tokio::sync::oneshot;

use super::{Desk, LEASE};
use crate::{
    clock,
    worker::{
        judge::{FileInHand, PATIENCE_SYNC},
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
    /// Resolves once the scan is in the store, where it is written out before its verdict.
    pub(crate) accepted: oneshot::Receiver<()>,
}

/// Why nothing was accepted.
#[derive(Debug)]
pub(crate) enum ExpressFault {
    Quota(QuotaExceeded),
    Idempotency(Earlier),
    Overloaded,
    Store(StoreError),
}

impl From<StoreError> for ExpressFault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Desk {
    /// Judges a file in memory.
    pub(crate) fn express(self: &Arc<Self>, ticket: Ticket, facts: FileFacts, content: Bytes) -> Express {
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
            let _ = caller.finished.send(result);
            desk.announce_end(id);
        });
        Express { finished, accepted }
    }

    async fn run_express(
        self: &Arc<Self>,
        ticket: Ticket,
        facts: FileFacts,
        content: Bytes,
        caller: &mut Caller,
    ) -> Result<Box<ScanRecord>, ExpressFault> {
        let file = FileInHand { content: content.clone(), name: facts.name.clone(), types: ticket.types(), lane: Lane::Sync };
        let desk = self.clone();
        let mut judging = tokio::spawn(async move {
            let memory = desk.judge.memory.reserve(file.content.len() as u64).await;
            let turn = desk.judge.turns.next(Lane::Sync).await;
            desk.judge.judge(&file, memory, turn, PATIENCE_SYNC).await
        });
        let judged = tokio::select! {
            biased;
            judgement = &mut judging => Some(judgement),
            () = caller.finished.closed() => None,
            () = tokio::time::sleep(MEMORY_ONLY) => None,
        };
        if let Some(judgement) = judged {
            return self.record(ticket, facts, judgement_or_crash(self, judgement)).await;
        }
        let lease = match self.write_out(&ticket, &facts, &content).await {
            Ok(lease) => lease,
            Err(fault) => {
                judging.abort();
                return Err(fault);
            }
        };
        drop(content);
        if let Some(accepted) = caller.accepted.take() {
            let _ = accepted.send(());
        }
        let judgement = judgement_or_crash(self, judging.await);
        let outcome = self.outcome(ticket.id(), None, Some(&facts), judgement, ticket.metadata(), ticket.has_webhook());
        let mut record = ticket.finished(&outcome, false);
        record.file = Some(facts);
        self.end(lease, outcome).await?;
        Ok(Box::new(record))
    }

    async fn record(&self, ticket: Ticket, facts: FileFacts, judgement: Judgement) -> Result<Box<ScanRecord>, ExpressFault> {
        self.record_known(ticket, facts, judgement, false).await
    }

    /// Writes down a scan whose judgement is known, its own or an earlier one's.
    pub(crate) async fn record_known(
        &self,
        ticket: Ticket,
        facts: FileFacts,
        judgement: Judgement,
        deduplicated: bool,
    ) -> Result<Box<ScanRecord>, ExpressFault> {
        let outcome = self.outcome(ticket.id(), Some(facts), None, judgement, ticket.metadata(), ticket.has_webhook());
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
    async fn write_out(&self, ticket: &Ticket, facts: &FileFacts, content: &[u8]) -> Result<Lease, ExpressFault> {
        let mut writer = self.store.blob_writer().await?;
        writer.write(content).await?;
        let blob = writer.finish().await?;
        let now = clock::now();
        let place = Place::Running { until: now.plus(LEASE) };
        let lease = match ticket.clone().accept(&self.store, now, facts.clone(), blob, place).await? {
            Accepted::Running(lease) => lease,
            Accepted::QuotaExceeded(exceeded) => return Err(ExpressFault::Quota(exceeded)),
            Accepted::IdempotencyTaken(earlier) => return Err(ExpressFault::Idempotency(earlier)),
            Accepted::Overloaded | Accepted::Queued => return Err(ExpressFault::Overloaded),
        };
        self.running().insert(lease.scan, lease);
        Ok(lease)
    }
}

/// Where the outcome of an express scan goes.
struct Caller {
    finished: oneshot::Sender<Result<Box<ScanRecord>, ExpressFault>>,
    accepted: Option<oneshot::Sender<()>>,
}

fn judgement_or_crash(desk: &Desk, judged: Result<Judgement, tokio::task::JoinError>) -> Judgement {
    judged.unwrap_or_else(|error| {
        tracing::error!(%error, "judging ended without a judgement");
        desk.judge.crashed(filesafety_model::ScanTypes::ALL)
    })
}
