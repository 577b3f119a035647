//! Scans that wait in the store: claimed, started, judged, ended.

use std::{sync::Arc, time::Duration};

use filesafety_model::{FailureCode, Judgement};
use filesafety_sandbox::FileContent;
use filesafety_store::{Beside, ClaimLimit, Claimed, Content, FileFacts, Lease, Outcome, ScanRecord, StoreError, Submission};
use tokio::time::timeout;

use super::{
    Desk, Ending, FactsAre, LEASE, RENEW_EVERY,
    fetched::Download,
    places::{Place, Places},
};
use crate::{
    clock,
    worker::{
        judge::{CRASHES_AT_MOST, FileInHand, Judged, Terms},
        memory::Reservation,
        turns::Lane,
    },
};

/// How often the queue is looked at when nothing tells that it changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Desk {
    /// Takes scans from the queue until the service drains.
    pub(crate) async fn serve_queue(self: Arc<Self>, threads: usize) {
        tokio::spawn(self.clone().renew_leases());
        self.run_suspects().await;
        let places = Places::new(threads);
        let mut changed = self.store.signals().queue;
        let mut look = tokio::time::interval(LOOK_EVERY);
        while !self.is_draining() {
            let free = places.free();
            let claimed = if free.total == 0 { Vec::new() } else { self.claim(free).await };
            for claimed in claimed {
                self.running().insert(claimed.lease.scan, claimed.lease);
                let place = places.take(lane_of(&claimed.scan));
                tokio::spawn(self.clone().run_beside_others(claimed, place, places.clone()));
            }
            tokio::select! {
                // What stayed behind for want of a place goes on.
                () = places.freed(), if places.are_short() => {}
                _ = changed.changed(), if places.free().total > 0 => {}
                () = self.draining() => {}
                // Leases run out silently, and a scan whose lease ran out while it ran is a suspect.
                _ = look.tick() => self.run_suspects().await,
            }
        }
    }

    /// A URL is fetched without a place: a slow host keeps no scan from its thread.
    async fn run_beside_others(self: Arc<Self>, mut claimed: Claimed, place: Place, places: Places) {
        let mut place = Some(place);
        let mut download = None;
        if let Content::Url(url) = &claimed.content {
            place = None;
            let Ok(_fetching) = self.fetches.clone().acquire_owned().await else { return };
            download = Some(self.fetch(url).await);
            claimed.content = Content::Lost;
        }
        let _place = match place {
            Some(place) => place,
            None => places.next(lane_of(&claimed.scan)).await,
        };
        self.run_claimed(claimed, download, Company::Others).await;
    }

    async fn claim(&self, limit: ClaimLimit) -> Vec<Claimed> {
        let now = clock::now();
        match self.store.claim(now, now.plus(LEASE), limit).await {
            Ok(claimed) if self.is_draining() => {
                let leases: Vec<_> = claimed.iter().map(|claimed| claimed.lease).collect();
                if let Err(error) = self.store.release_many(&leases).await {
                    tracing::warn!(%error, "scans could not be given back; their leases will run out");
                }
                Vec::new()
            }
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "the queue cannot be read; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
                Vec::new()
            }
        }
    }

    /// What ran when the process was killed is run again, one at a time and with nothing beside it.
    async fn run_suspects(self: &Arc<Self>) {
        while !self.is_draining() {
            let now = clock::now();
            match self.store.claim_suspect(now, now.plus(LEASE)).await {
                Ok(Some(claimed)) => {
                    self.running().insert(claimed.lease.scan, claimed.lease);
                    let download = match &claimed.content {
                        Content::Url(url) => Some(self.fetch(url).await),
                        Content::Blob { .. } | Content::Lost => None,
                    };
                    self.run_claimed(claimed, download, Company::Nobody).await;
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "the queue cannot be read; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn run_claimed(self: &Arc<Self>, claimed: Claimed, download: Option<Fetch>, company: Company) {
        let (lease, scan) = (claimed.lease, claimed.scan.id);
        let ended = self.work_on(claimed, download, company).await;
        self.forget(lease);
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

    async fn work_on(self: &Arc<Self>, claimed: Claimed, download: Option<Fetch>, company: Company) -> Result<(), StoreError> {
        let Claimed { lease, scan, content, crashes, .. } = claimed;
        if crashes >= CRASHES_AT_MOST {
            return self.end_with(lease, &scan, None, self.judge.crashed(scan.types)).await;
        }
        let lane = lane_of(&scan);
        let in_hand = match download {
            Some(fetched) => fetched.map(|download| (download.content, download.facts, download.memory)).map_err(Judged::from),
            None => self.take_in_hand(lease, &scan, content, company).await?,
        };
        let (content, facts, memory) = match in_hand {
            Ok(in_hand) => in_hand,
            Err(judged) => return self.end_with(lease, &scan, None, judged).await,
        };
        let fetched = scan.file.is_none().then(|| facts.clone());
        let turn = match company {
            Company::Others => self.judge.turns.next(lane).await,
            Company::Nobody => self.judge.turns.alone(lane).await,
        };
        let beside = match company {
            Company::Others => Beside::Others,
            Company::Nobody => Beside::Nothing,
        };
        self.store.start(lease, beside).await?;
        let file = FileInHand { content, name: facts.name, types: scan.types, lane, password: scan.password.clone() };
        let terms = Terms { awaited: &|| self.is_awaited(scan.id), alone: matches!(company, Company::Nobody) };
        let judged = self.judge.judge(&file, memory, turn, terms).await;
        drop(file);
        self.end_with(lease, &scan, fetched, judged).await
    }

    /// The bytes in memory, or how the scan ends without them.
    async fn take_in_hand(
        &self,
        lease: Lease,
        scan: &ScanRecord,
        content: Content,
        company: Company,
    ) -> Result<Result<InHand, Judged>, StoreError> {
        let Content::Blob { size } = content else { return Ok(Err(lost(scan, "its key does not open"))) };
        if !self.judge.memory.fits(size) {
            return Ok(Err(self.judge.beyond_memory(scan.types)));
        }
        let memory = match company {
            Company::Others => self.judge.memory.reserve(size).await,
            // With the whole in hand it is never sent back for more, and so never loses its turn.
            Company::Nobody => self.judge.memory.reserve_whole(size).await,
        };
        let writer = FileContent::writer().map_err(|error| StoreError::Unavailable(error.into()))?;
        let read = self.store.read_blob(&lease, writer).await;
        match (read, scan.file.clone()) {
            (Ok(written), Some(facts)) => Ok(Ok((written.finish().map_err(|error| StoreError::Unavailable(error.into()))?, facts, memory))),
            (Ok(_), None) => Ok(Err(lost(scan, "its facts are gone"))),
            (Err(StoreError::Corrupt(cause)), _) => Ok(Err(lost(scan, &cause))),
            (Err(error), _) => Err(error),
        }
    }

    /// `fetched` are the facts of a file that its row does not know yet.
    async fn end_with(&self, lease: Lease, scan: &ScanRecord, fetched: Option<FileFacts>, judged: Judged) -> Result<(), StoreError> {
        let ending = Ending { id: scan.id, metadata: scan.metadata.as_deref(), webhook: scan.webhook.is_some() };
        let outcome = match &fetched {
            Some(facts) => self.outcome(&ending, Some(facts), FactsAre::News, judged),
            None => self.outcome(&ending, scan.file.as_ref(), FactsAre::Known, judged),
        };
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
                    self.forget(lease);
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
                Ok(Ok(lost)) => lost.into_iter().for_each(|lease| self.forget(lease)),
                Ok(Err(error)) => tracing::warn!(%error, "leases could not be renewed; trying again"),
                Err(_) => tracing::warn!("the store takes long to renew leases; trying again"),
            }
        }
    }
}

fn lane_of(scan: &ScanRecord) -> Lane {
    match scan.lane {
        Submission::Sync => Lane::Sync,
        Submission::Async => Lane::Async,
    }
}

fn lost(scan: &ScanRecord, cause: &str) -> Judged {
    tracing::error!(%cause, scan = %scan.id, "an upload is lost");
    let message = "The stored upload was lost or damaged before it was scanned; send the file again.";
    Judgement::failed(FailureCode::StorageLost, message).into()
}

/// How a fetch ended: with the file, or with the scan.
type Fetch = Result<Download, Judgement>;

/// A file with its facts and the memory it holds.
type InHand = (FileContent, FileFacts, Reservation);

/// What may run beside a scan.
#[derive(Clone, Copy)]
enum Company {
    Others,
    Nobody,
}
