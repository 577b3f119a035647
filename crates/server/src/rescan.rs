//! Looking back: what the lists of digests in force make of content that was scanned before they knew it.

use filesafety_engine::{Blueprint, HashLists};
use filesafety_model::{DeliveryId, EngineName, EventId, Judgement, Listing, ScanId, Timestamp, Verdict, reconsider};
use filesafety_store::{Conflict, FirstDelivery, KnownContent, ScanRecord, StateRecord, Store, StoreError, VerdictTurn};

use crate::{announce, clock};

/// Whether verdicts are turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Turn,
    /// It is only told which would be.
    DryRun,
}

/// What a look back came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookedBack {
    /// Scans whose digests were looked up.
    pub scans: u64,
    /// Verdicts that turned to the worse.
    pub condemned: u64,
    /// Verdicts that an allowance turned to the better.
    pub cleared: u64,
    /// Webhooks that tell of it; none in a dry run.
    pub webhooks: u64,
}

/// A verdict that turned, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnedVerdict {
    pub scan: ScanId,
    pub previous: Verdict,
    pub verdict: Verdict,
    /// What it is called, where it was condemned.
    pub signature: Option<String>,
}

/// Digests looked up between two looks at the store.
const PAGE: u32 = 1000;
/// A verdict that is turned by someone else each time it is looked at.
const TRIES: u32 = 4;

/// Looks up all content that was scanned since `since` in the lists of `blueprint`, and turns the verdicts that newer entries turn, each in one
/// transaction with its event. `told` hears of each. Safe beside a running service and beside itself; what breaks off in the middle is
/// taken up by the next look.
///
/// # Errors
/// Those of the store; what was turned before stays turned.
pub async fn look_back(
    store: &Store,
    blueprint: &Blueprint,
    since: Option<Timestamp>,
    mode: Mode,
    mut told: impl FnMut(&TurnedVerdict),
) -> Result<LookedBack, StoreError> {
    let (lists, required) = (blueprint.hash_lists(), blueprint.required());
    let mut looked_back = LookedBack::default();
    if !lists.can_look_back() {
        return Ok(looked_back);
    }
    let mut place = None;
    loop {
        let page = store.contents(place, since, PAGE).await?;
        looked_back.scans += page.contents.len() as u64;
        for content in &page.contents {
            if let Some((turned, webhook)) = look_at(store, lists, required, content, mode).await? {
                let condemned = matches!(turned.verdict, Verdict::Infected | Verdict::Mixed);
                *if condemned { &mut looked_back.condemned } else { &mut looked_back.cleared } += 1;
                looked_back.webhooks += u64::from(webhook);
                told(&turned);
            }
        }
        place = page.next;
        if place.is_none() {
            return Ok(looked_back);
        }
    }
}

/// The scan's verdict as it turned, and whether a webhook tells of it.
async fn look_at(
    store: &Store,
    lists: &HashLists,
    required: &[EngineName],
    content: &KnownContent,
    mode: Mode,
) -> Result<Option<(TurnedVerdict, bool)>, StoreError> {
    let listing = lists.listing(&content.sha256);
    if listing == Listing::Unlisted {
        return Ok(None);
    }
    for _ in 0..TRIES {
        let scan = match store.scan_of_anyone(content.scan).await {
            Ok(scan) => scan,
            // Erased since the page was read.
            Err(StoreError::NotFound) => return Ok(None),
            // One row that does not read must not keep all others from being looked at.
            Err(StoreError::Corrupt(cause)) => {
                tracing::error!(scan = %content.scan, %cause, "a scan whose content is listed cannot be read");
                return Ok(None);
            }
            Err(error @ (StoreError::Conflict(_) | StoreError::LeaseLost | StoreError::Unavailable(_))) => return Err(error),
        };
        let StateRecord::Finished { at, judgement: before } = &scan.state else { return Ok(None) };
        let Some(judgement) = reconsider(before, scan.types, required, &listing) else { return Ok(None) };
        let turned = TurnedVerdict {
            scan: scan.id,
            previous: before.verdict,
            verdict: judgement.verdict,
            signature: judgement.virus.as_ref().and_then(|virus| virus.primary.as_ref()).map(|primary| primary.signature.clone()),
        };
        if mode == Mode::DryRun {
            return Ok(Some((turned, false)));
        }
        match store.turn_verdict(turn(&scan, *at, before.verdict, judgement)).await {
            Ok(webhook) => return Ok(Some((turned, webhook))),
            Err(StoreError::Conflict(Conflict::VerdictTurned)) => {}
            Err(StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn turn(scan: &ScanRecord, finished_at: Timestamp, previous: Verdict, judgement: Judgement) -> VerdictTurn {
    let at = clock::now();
    let finished = announce::Finished {
        scan: scan.id,
        judgement: &judgement,
        digest: scan.file.as_ref().map(|file| &file.sha256),
        metadata: scan.metadata.as_deref(),
        at: finished_at,
    };
    let turned = announce::Turned { finished, sequence: scan.sequence.saturating_add(1), previous, turned_at: at };
    let announcement = announce::scan_verdict_updated(EventId::new(at, clock::entropy()), &turned);
    let delivery = FirstDelivery { id: DeliveryId::new(at, clock::entropy()), due_at: at };
    VerdictTurn { scan: scan.id, seen: scan.sequence, at, judgement, announcement, delivery }
}
