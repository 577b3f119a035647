//! Keeps a webhook from overtaking the answer that first names its scan.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use filesafety_model::{DeliveryId, ScanId, Timestamp};
use filesafety_store::{FirstDelivery, Store};

use crate::clock;

/// Deliveries of scans whose answer is not written yet are committed this far ahead. A crash before the answer delays them, no more.
const AHEAD: Duration = Duration::from_secs(5);

/// The scans whose first answer is still under way.
#[derive(Clone)]
pub(crate) struct Gates {
    closed: Arc<Mutex<HashMap<ScanId, Closed>>>,
    store: Store,
    grace: Duration,
}

/// A gate, as long as it is closed.
#[derive(Default)]
struct Closed {
    /// Answers under way: an upload URL can be sent to twice.
    answers: u32,
    waiting: Option<DeliveryId>,
}

/// Opens the gate some time after it is dropped: with the answer's body, or with the request whose client is gone.
pub(crate) struct GateGuard {
    gates: Gates,
    scan: ScanId,
}

impl Gates {
    pub(crate) fn new(store: Store, grace: Duration) -> Self {
        Self { closed: Arc::default(), store, grace }
    }

    /// From here until the guard is dropped, and a grace more, no webhook of `scan` leaves.
    pub(crate) fn close(&self, scan: ScanId) -> GateGuard {
        self.closed().entry(scan).or_default().answers += 1;
        GateGuard { gates: self.clone(), scan }
    }

    /// The delivery that goes with a verdict at `now`.
    pub(crate) fn first_delivery(&self, scan: ScanId, now: Timestamp) -> FirstDelivery {
        let id = DeliveryId::new(now, clock::entropy());
        let due_at = match self.closed().get_mut(&scan) {
            Some(gate) => {
                gate.waiting = Some(id);
                now.plus(AHEAD)
            }
            None => now,
        };
        FirstDelivery { id, due_at }
    }

    async fn open(self, scan: ScanId) {
        tokio::time::sleep(self.grace).await;
        let waiting = self.leave(scan);
        if let Some(delivery) = waiting
            && let Err(error) = self.store.bring_forward(delivery, clock::now()).await
        {
            tracing::warn!(%error, %scan, "a delivery could not be brought forward; it leaves a few seconds later");
        }
    }

    /// The delivery that waited, once the last answer is written.
    fn leave(&self, scan: ScanId) -> Option<DeliveryId> {
        let mut closed = self.closed();
        let gate = closed.get_mut(&scan)?;
        gate.answers = gate.answers.saturating_sub(1);
        if gate.answers > 0 { None } else { closed.remove(&scan)?.waiting }
    }

    fn closed(&self) -> MutexGuard<'_, HashMap<ScanId, Closed>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for GateGuard {
    fn drop(&mut self) {
        // Outside a runtime the service is going down; the delivery is due in a few seconds anyway.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(self.gates.clone().open(self.scan));
        }
    }
}
