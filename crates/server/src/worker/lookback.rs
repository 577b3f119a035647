//! Looks back when the lists of digests change, and at the start, since they may have changed while nothing ran.

use std::{sync::Arc, time::Duration};

use crate::{
    rescan::{self, LookedBack, Mode},
    state::AppState,
};

/// After a store that could not be reached.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// What a scan takes beyond its own bound of time: to wait for its turn, and to be written down.
const SLACK: Duration = Duration::from_secs(60);

/// Looks back until the service ends.
pub(crate) async fn run(state: Arc<AppState>) {
    let mut replaced = state.desk.judge.threads.replaced();
    // Scans that run when the lists change are judged by the former ones: once they are over, one more look finds them.
    let settled_after = state.config.limits.cpu * 2 + SLACK;
    loop {
        replaced.mark_unchanged();
        look_until_done(&state).await;
        if let Ok(Ok(())) = tokio::time::timeout(settled_after, replaced.changed()).await {
            continue;
        }
        look_until_done(&state).await;
        if replaced.changed().await.is_err() {
            return;
        }
    }
}

async fn look_until_done(state: &AppState) {
    loop {
        let blueprint = state.desk.judge.threads.blueprint();
        match rescan::look_back(&state.store, &blueprint, None, Mode::Turn, |turned| {
            tracing::info!(scan = %turned.scan, from = turned.previous.as_str(), to = turned.verdict.as_str(), "newer data turned a verdict");
        })
        .await
        {
            Ok(LookedBack { condemned: 0, cleared: 0, .. }) => return,
            Ok(LookedBack { scans, condemned, cleared, webhooks }) => {
                state.deliverer.wake();
                tracing::info!(scans, condemned, cleared, webhooks, "looked back with the lists in force");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "looking back broke off; trying again");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}
