//! Writes down how attempts went: all that ended while the last were written, in one transaction.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use filesafety_model::AccountId;
use filesafety_store::{FinishedAttempt, Lane, StoreError};
use tokio::sync::mpsc;

use super::{Deliverer, slots::Ended};
use crate::clock;

/// Attempts in one transaction.
const BATCH: usize = 256;
/// Outcomes that cannot be written are tried again so often, a little later each time.
const WRITES: u32 = 6;
const WRITE_PAUSE: Duration = Duration::from_millis(200);

/// An attempt that ended, and the slot it had.
pub(super) struct Concluded {
    pub(super) attempt: FinishedAttempt,
    pub(super) account: AccountId,
    pub(super) lane: Lane,
    pub(super) started: Instant,
    pub(super) ended: Ended,
}

impl Deliverer {
    /// An attempt ended: its slot is free, and its outcome goes to be written down.
    pub(super) fn conclude(&self, concluded: Concluded, inbox: &mpsc::UnboundedSender<Concluded>) {
        // Before the outcome is written: that gives the host's lines a turn, which must find the slot free.
        self.free(&concluded);
        self.unwritten.fetch_add(1, Ordering::Relaxed);
        // Nobody receives it any more only when the service is cut off; then the claim runs out.
        let _ = inbox.send(concluded);
    }

    /// Writes down what comes, until all attempts are gone. No attempt begins while too much waits here.
    pub(super) async fn record(self: Arc<Self>, mut inbox: mpsc::UnboundedReceiver<Concluded>) {
        let mut batch = Vec::with_capacity(BATCH);
        while inbox.recv_many(&mut batch, BATCH).await > 0 {
            let written = batch.len();
            self.write_down(batch.drain(..).map(|concluded| concluded.attempt).collect()).await;
            self.unwritten.fetch_sub(written, Ordering::Relaxed);
            self.wake();
        }
    }

    async fn write_down(&self, attempts: Vec<FinishedAttempt>) {
        for write in 1..=WRITES {
            match self.store.finish_attempts(attempts.clone(), clock::now()).await {
                // Of one that held its claim no more, the scan was erased, or the delivery is someone else's.
                Ok(_) => return,
                Err(error) if write == WRITES => {
                    tracing::error!(%error, attempts = attempts.len(), "the outcome of webhooks cannot be written down; they are sent again");
                }
                Err(
                    StoreError::Unavailable(_)
                    | StoreError::Conflict(_)
                    | StoreError::Corrupt(_)
                    | StoreError::LeaseLost
                    | StoreError::NotFound,
                ) => {
                    tokio::time::sleep(WRITE_PAUSE * write).await;
                }
            }
        }
    }

    fn free(&self, concluded: &Concluded) {
        let Concluded { attempt, account, lane, started, ended } = concluded;
        if !self.slots().end(&attempt.host, *account, *lane, *started, *ended, Instant::now()) {
            return;
        }
        match ended {
            Ended::Succeeded => tracing::info!(host = attempt.host, "webhooks arrive again; the circuit is closed"),
            Ended::Failed | Ended::Unsent => {
                tracing::warn!(host = attempt.host, "webhooks keep failing; the circuit is open, and a probe leaves every 10 s");
            }
        }
    }
}
