//! Hands events from the inbox to their handlers, tries again what failed, and buries what keeps failing.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Core,
    handlers::{Handler, HandlerError, Remedy},
    scan_event::ScanEvent,
    store::{Claim, Claimed, Outcome, Settled, StoreError},
};

/// Another process may add or revive events: the store is asked at least this often.
const LOOK: Duration = Duration::from_secs(1);

/// Nothing due can be handed out, since another event of its scan is: that one's end wakes us.
const BREATH: Duration = Duration::from_millis(50);

/// Between tries of a store that is unavailable.
const STORE_WAIT: Duration = Duration::from_secs(1);

/// A claim outlives its handler's time by this much, for the mark.
const MARK_TIME: Duration = Duration::from_secs(60);

const SWEEP: Duration = Duration::from_secs(60 * 60);

/// Characters of an error that are kept.
const ERROR_KEPT: usize = 1000;

/// Runs until `stop` turns true, and then until the last handler has ended.
pub(super) async fn run(core: Arc<Core>, mut stop: watch::Receiver<bool>) {
    let mut handlers = JoinSet::new();
    let mut swept: Option<SystemTime> = None;
    let recover = until_it_works("recover", || core.store.recover(core.now()));
    tokio::select! {
        () = recover => {}
        _ = stop.wait_for(|stop| *stop) => return,
    }
    while !*stop.borrow() {
        let now = core.now();
        if swept.is_none_or(|at| now.duration_since(at).is_ok_and(|since| since > SWEEP)) {
            swept = Some(now);
            sweep(&core, now).await;
        }
        while handlers.try_join_next().is_some() {}
        let free = core.settings.handlers_at_once - handlers.len();
        let wait = if free > 0 { hand_out(&core, &mut handlers, free).await } else { LOOK };
        tokio::select! {
            () = core.arrived.notified(), if free > 0 => {}
            Some(_) = handlers.join_next() => {}
            () = sleep(wait) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
    while handlers.join_next().await.is_some() {}
}

/// Claims what is due and starts its handlers. Gives the time until it is worth asking again.
async fn hand_out(core: &Arc<Core>, handlers: &mut JoinSet<()>, free: usize) -> Duration {
    let now = core.now();
    let claims = match core.store.claim(free, now, now + core.settings.handler_time + MARK_TIME).await {
        Ok(claims) => claims,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the inbox cannot be read");
            return STORE_WAIT;
        }
    };
    core.counters.superseded.fetch_add(claims.superseded, Ordering::Relaxed);
    let wait =
        claims.next_due.and_then(|due| due.duration_since(now).ok()).unwrap_or(if claims.next_due.is_some() { BREATH } else { LOOK });
    for claimed in claims.events {
        let core = Arc::clone(core);
        handlers.spawn(async move { handle(&core, claimed).await });
    }
    wait.clamp(BREATH, LOOK)
}

/// One try of one event, to its mark.
async fn handle(core: &Arc<Core>, claimed: Claimed) {
    let (claim, attempt) = (claimed.claim.clone(), claimed.attempt);
    let tries = core.settings.retries.len().saturating_add(1);
    let result = if usize::try_from(attempt).is_ok_and(|attempt| attempt > tries) {
        // Each try is counted before it begins, so these ended without an outcome.
        Err(HandlerError::give_up("the receiver ended during the last try of the handler"))
    } else {
        run_handler(core, claimed).await
    };
    let (outcome, written) = match result {
        Ok(Ended::Handled) => (Outcome::Handled, None),
        Ok(Ended::Marked(settled)) => (Outcome::Handled, Some(settled)),
        Err(error) => (after_failure(core, &claim, attempt, &error), None),
    };
    let settled = match written {
        Some(settled) => settled,
        None => settle(core, &claim, &outcome).await,
    };
    count(core, &claim, &outcome, settled);
}

enum Ended {
    /// The mark is still to be written.
    Handled,
    /// The handler has settled the claim in its own commit.
    Marked(Settled),
}

async fn run_handler(core: &Arc<Core>, claimed: Claimed) -> Result<Ended, HandlerError> {
    let event = Arc::new(ScanEvent::of_claimed(&claimed).map_err(HandlerError::give_up)?);
    let handler = core.routes.handler_of(&event).cloned().ok_or_else(|| HandlerError::give_up("no handler takes this event"))?;
    let now = core.now();
    // In a task of its own a panic stays there.
    let mut task = tokio::spawn(async move {
        match handler {
            Handler::BeforeMark(run) => run(event).await.map(|()| Ended::Handled),
            Handler::WithMark(handler) => (handler.run)(event, claimed.claim, now).await.map(Ended::Marked),
        }
    });
    let stop_with_us = AbortOnDrop(task.abort_handle());
    let result = match timeout(core.settings.handler_time, &mut task).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(HandlerError::retry("the handler panicked")),
        Err(_) => Err(HandlerError::retry(format!("the handler took longer than {} s", core.settings.handler_time.as_secs_f32()))),
    };
    drop(stop_with_us);
    result
}

/// A handler must not outlive the try that it belongs to.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn after_failure(core: &Core, claim: &Claim, attempt: u32, error: &HandlerError) -> Outcome {
    let text: String = error.to_string().chars().take(ERROR_KEPT).collect();
    let waited = usize::try_from(attempt).unwrap_or(usize::MAX).saturating_sub(1);
    core.counters.failed.fetch_add(1, Ordering::Relaxed);
    match (error.remedy, core.settings.retries.get(waited)) {
        (Remedy::TryAgain, Some(wait)) => {
            tracing::warn!(event = %claim.key, attempt, retry_in_secs = wait.as_secs_f32(), error = text.escape_debug().to_string(), "handler failed");
            Outcome::Retry { at: core.now() + *wait, error: text }
        }
        (Remedy::TryAgain, None) | (Remedy::GiveUp, _) => {
            tracing::error!(event = %claim.key, attempt, error = text.escape_debug().to_string(), "handler failed for the last time: dead letter");
            Outcome::Dead { error: text }
        }
    }
}

/// Without its mark the event would be handled again: this goes on until the store takes it. At the end of the process, too, the claim
/// stands for a handler that may have done its work.
async fn settle(core: &Core, claim: &Claim, outcome: &Outcome) -> Settled {
    until_it_works("settle", || core.store.settle(claim.clone(), outcome.clone(), core.now())).await
}

fn count(core: &Core, claim: &Claim, outcome: &Outcome, settled: Settled) {
    match (settled, outcome) {
        (Settled::Lost, _) => tracing::warn!(event = %claim.key, "the event was taken over while its handler still ran"),
        (Settled::Written, Outcome::Handled) => {
            core.counters.handled.fetch_add(1, Ordering::Relaxed);
            tracing::info!(event = %claim.key, "handled");
        }
        (Settled::Written, Outcome::Dead { .. }) => {
            core.counters.dead.fetch_add(1, Ordering::Relaxed);
        }
        (Settled::Written, Outcome::Retry { .. }) => {}
    }
}

async fn sweep(core: &Core, now: SystemTime) {
    let Some(before) = now.checked_sub(core.settings.retention) else { return };
    match core.store.sweep(before).await {
        Ok(0) => {}
        Ok(rows) => tracing::info!(rows, "old pending scans and set-aside events were forgotten"),
        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "old pending scans could not be forgotten"),
    }
}

async fn until_it_works<T, F>(what: &'static str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "the receiver's store does not {what}; trying again"),
        }
        sleep(STORE_WAIT).await;
    }
}
