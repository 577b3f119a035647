//! What goes when its time is over, and small chores that come round.

use std::{sync::Arc, time::Duration};

use filesafety_model::{EventId, FailureCode, Judgement};
use filesafety_store::{Outcome, RetentionPolicy, ScanRecord};

use crate::{announce, clock, state::AppState};

const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Sweeps until the service ends.
pub(crate) async fn run(state: Arc<AppState>) {
    let policy =
        RetentionPolicy { finished: state.config.retention, upload_grace: state.config.intake.deadline, ..RetentionPolicy::default() };
    loop {
        sweep(&state, policy).await;
        let uses = state.keys.take_uses();
        if !uses.is_empty()
            && let Err(error) = state.store.touch_keys(&uses).await
        {
            tracing::warn!(%error, "the last use of keys could not be written down");
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

async fn sweep(state: &AppState, policy: RetentionPolicy) {
    loop {
        match state.store.sweep(clock::now(), policy).await {
            Ok(swept) => {
                let mut ended = swept.overdue.is_empty();
                for scan in &swept.overdue {
                    ended |= end_overdue(state, scan).await;
                }
                // When none could be ended, the same would come again at once.
                if !swept.more || !ended {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "retention could not run; trying again later");
                return;
            }
        }
    }
}

/// A scan that is unfinished after a day ends `failed`, with its webhook.
async fn end_overdue(state: &AppState, scan: &ScanRecord) -> bool {
    let at = clock::now();
    let judgement = Judgement::failed(FailureCode::StorageLost, "The scan did not finish within a day; send the file again.");
    let finished = announce::Finished {
        scan: scan.id,
        judgement: &judgement,
        digest: scan.file.as_ref().map(|file| &file.sha256),
        metadata: scan.metadata.as_deref(),
        at,
    };
    let announcement = announce::scan_complete(EventId::new(at, clock::entropy()), &finished);
    let delivery = scan.webhook.is_some().then(|| state.gates.first_delivery(scan.id, at));
    let outcome = Outcome { at, file: None, judgement, fingerprint: None, announcement, delivery };
    match state.store.end_overdue(scan.id, outcome).await {
        Ok(()) => {
            state.deliverer.wake();
            true
        }
        Err(error) => {
            tracing::warn!(%error, scan = %scan.id, "an overdue scan could not be ended");
            false
        }
    }
}
