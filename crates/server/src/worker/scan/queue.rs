//! Scans that wait in the store: claimed, started, judged, ended.

use std::{sync::Arc, time::Duration};

use filesafety_model::{FailureCode, Judgement};
use filesafety_store::{Beside, Claimed, Content, FileFacts, Lease, Outcome, ScanRecord, StoreError, Submission};
use tokio::{sync::Semaphore, time::timeout};

use super::{Desk, LEASE, RENEW_EVERY};
use crate::{
    clock,
    worker::{
        judge::{FileInHand, PATIENCE_ASYNC, PATIENCE_SYNC},
        memory::Reservation,
        turns::{Lane, Turn},
    },
};

/// How often the queue is looked at when nothing tells that it changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A scan that brought the process down so often, alone, is not tried again.
const CRASHES_AT_MOST: u32 = 3;

impl Desk {
    /// Takes scans from the queue until the service drains.
    pub(crate) async fn serve_queue(self: Arc<Self>, threads: usize) {
        tokio::spawn(self.clone().renew_leases());
        self.run_suspects(threads).await;
        // One claim more than there are threads, so that the next one's bytes are read while they scan.
        let places = Arc::new(Semaphore::new(threads + 1));
        let mut changed = self.store.signals().queue;
        let mut draining = self.draining.subscribe();
        while !self.is_draining() {
            let free = u32::try_from(places.available_permits()).unwrap_or(u32::MAX);
            let claimed = if free == 0 { Vec::new() } else { self.claim(free).await };
            let more = claimed.len() as u32 == free;
            for claimed in claimed {
                let Ok(place) = places.clone().acquire_owned().await else { return };
                let desk = self.clone();
                self.running().insert(claimed.lease.scan, claimed.lease);
                tokio::spawn(async move {
                    desk.run_claimed(claimed, Company::Others).await;
                    drop(place);
                });
            }
            if more {
                // A place must come free before the next claim.
                tokio::select! {
                    _ = places.acquire() => {}
                    _ = draining.changed() => {}
                }
            } else {
                tokio::select! {
                    _ = changed.changed() => {}
                    _ = draining.changed() => {}
                    // Leases run out silently, and a scan whose lease ran out while it ran is a suspect.
                    () = tokio::time::sleep(LOOK_EVERY) => self.run_suspects(threads).await,
                }
            }
        }
    }

    async fn claim(&self, limit: u32) -> Vec<Claimed> {
        let now = clock::now();
        match self.store.claim(now, now.plus(LEASE), limit).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "the queue cannot be read; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
                Vec::new()
            }
        }
    }

    /// What ran when the process was killed is run again, one at a time and with nothing beside it.
    async fn run_suspects(self: &Arc<Self>, threads: usize) {
        while !self.is_draining() {
            let now = clock::now();
            match self.store.claim_suspect(now, now.plus(LEASE)).await {
                Ok(Some(claimed)) => {
                    self.running().insert(claimed.lease.scan, claimed.lease);
                    self.run_claimed(claimed, Company::Nobody { threads }).await;
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "the queue cannot be read; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn run_claimed(self: &Arc<Self>, claimed: Claimed, company: Company) {
        let (lease, scan) = (claimed.lease, claimed.scan.id);
        let ended = self.work_on(claimed, company).await;
        self.running().remove(&scan);
        match ended {
            Ok(()) => self.announce_end(scan),
            Err(StoreError::LeaseLost | StoreError::NotFound) => tracing::warn!(%scan, "a scan was given to another worker, or erased"),
            Err(error) => {
                tracing::warn!(%error, %scan, "a scan goes back to the queue");
                let _ = self.store.release(lease).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    async fn work_on(self: &Arc<Self>, claimed: Claimed, company: Company) -> Result<(), StoreError> {
        let Claimed { lease, scan, content, crashes, .. } = claimed;
        if crashes >= CRASHES_AT_MOST {
            return self.end_with(lease, &scan, None, self.judge.crashed(scan.types)).await;
        }
        let lane = match scan.lane {
            Submission::Sync => Lane::Sync,
            Submission::Async => Lane::Async,
        };
        let (content, facts, memory) = match self.take_in_hand(lease, &scan, content).await? {
            Ok(in_hand) => in_hand,
            Err(judgement) => return self.end_with(lease, &scan, None, *judgement).await,
        };
        let fetched = scan.file.is_none().then(|| facts.clone());
        let (turn, _others) = self.take_turns(lane, company).await;
        let beside = match company {
            Company::Others => Beside::Others,
            Company::Nobody { .. } => Beside::Nothing,
        };
        self.store.start(lease, beside).await?;
        let file = FileInHand { content, name: facts.name, types: scan.types, lane };
        let patience = match lane {
            Lane::Sync => PATIENCE_SYNC,
            Lane::Async => PATIENCE_ASYNC,
        };
        let judgement = self.judge.judge(&file, memory, turn, patience).await;
        drop(file);
        self.end_with(lease, &scan, fetched, judgement).await
    }

    /// The bytes in memory, or how the scan ends without them.
    async fn take_in_hand(&self, lease: Lease, scan: &ScanRecord, content: Content) -> Result<Result<InHand, Box<Judgement>>, StoreError> {
        let lost = |reason: &str| Ok(Err(Box::new(Judgement::failed(FailureCode::StorageLost, reason))));
        match content {
            Content::Url(url) => Ok(self.fetch(&url).await.map(|download| (download.content, download.facts, download.memory))),
            Content::Lost => lost("The stored upload or its address was lost before it was scanned; send the file again."),
            Content::Blob { size } => {
                let memory = self.judge.memory.reserve(size).await;
                let Some(facts) = scan.file.clone() else { return lost("The upload's facts are gone.") };
                match self.store.read_blob(&lease).await {
                    Ok(bytes) => Ok(Ok((bytes.into(), facts, memory))),
                    Err(StoreError::Corrupt(cause)) => {
                        tracing::error!(%cause, scan = %scan.id, "an upload is lost");
                        lost("The stored upload was lost or damaged before it was scanned; send the file again.")
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// A thread; for a suspect all of them, so that nothing runs beside it.
    async fn take_turns(&self, lane: Lane, company: Company) -> (Turn, Vec<Turn>) {
        let mut others = Vec::new();
        if let Company::Nobody { threads } = company {
            for _ in 1..threads {
                others.push(self.judge.turns.next(lane).await);
            }
        }
        (self.judge.turns.next(lane).await, others)
    }

    async fn end_with(&self, lease: Lease, scan: &ScanRecord, fetched: Option<FileFacts>, judgement: Judgement) -> Result<(), StoreError> {
        let outcome = self.outcome(scan.id, fetched, scan.file.as_ref(), judgement, scan.metadata.as_deref(), scan.webhook.is_some());
        self.end(lease, outcome).await
    }

    /// Writes the end of a scan down; a store that cannot be reached is asked again while the lease is ours.
    pub(super) async fn end(&self, lease: Lease, outcome: Outcome) -> Result<(), StoreError> {
        let mut wait = Duration::from_millis(100);
        loop {
            match self.store.complete(lease, outcome.clone()).await {
                Err(StoreError::Unavailable(cause)) if !self.is_draining() => {
                    tracing::warn!(%cause, scan = %lease.scan, "a verdict cannot be written down; trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                result => {
                    self.running().remove(&lease.scan);
                    if result.is_ok() {
                        self.metrics.count_verdict(outcome.judgement.verdict, false);
                    }
                    return result;
                }
            }
        }
    }

    async fn renew_leases(self: Arc<Self>) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            let leases: Vec<_> = self.running().values().copied().collect();
            if leases.is_empty() {
                continue;
            }
            match timeout(RENEW_EVERY, self.store.renew(&leases, clock::now().plus(LEASE))).await {
                Ok(Ok(lost)) => {
                    let mut running = self.running();
                    lost.iter().for_each(|lease| {
                        running.remove(&lease.scan);
                    });
                }
                Ok(Err(error)) => tracing::warn!(%error, "leases could not be renewed; trying again"),
                Err(_) => tracing::warn!("the store takes long to renew leases; trying again"),
            }
        }
    }
}

/// A file with its facts and the memory it holds.
type InHand = (bytes::Bytes, FileFacts, Reservation);

/// What may run beside a scan.
#[derive(Clone, Copy)]
enum Company {
    Others,
    Nobody { threads: usize },
}
