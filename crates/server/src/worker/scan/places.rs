//! How many scans of the store are claimed at once, and of which lane.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use filesafety_store::ClaimLimit;
use tokio::sync::Notify;

use crate::worker::turns::Lane;

/// One claim more than there are threads, so that the next one's bytes are read while they scan; and one more that only a scan which
/// nobody waits for may have. So there is always one to take the turn that is due to it, however many callers wait.
#[derive(Clone)]
pub(super) struct Places(Arc<Shared>);

struct Shared {
    taken: Mutex<Taken>,
    total: u32,
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    sync: u32,
    asynchronous: u32,
}

/// Given back when dropped.
pub(super) struct Place {
    places: Places,
    lane: Lane,
}

impl Places {
    pub(super) fn new(threads: usize) -> Self {
        let total = u32::try_from(threads).unwrap_or(u32::MAX).saturating_add(2);
        Self(Arc::new(Shared { taken: Mutex::default(), total, freed: Notify::new() }))
    }

    pub(super) fn free(&self) -> ClaimLimit {
        let taken = self.taken();
        let total = self.0.total.saturating_sub(taken.sync + taken.asynchronous);
        ClaimLimit { total, sync: (self.0.total - 1).saturating_sub(taken.sync).min(total) }
    }

    /// Whether something may stay behind in the store for want of a place.
    pub(super) fn are_short(&self) -> bool {
        self.free().sync == 0
    }

    /// Takes a place of those that were [`Places::free`].
    pub(super) fn take(&self, lane: Lane) -> Place {
        let mut taken = self.taken();
        match lane {
            Lane::Sync => taken.sync += 1,
            Lane::Async => taken.asynchronous += 1,
        }
        Place { places: self.clone(), lane }
    }

    /// Waits for a place.
    pub(super) async fn next(&self, lane: Lane) -> Place {
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let free = self.free();
            let left = match lane {
                Lane::Sync => free.sync,
                Lane::Async => free.total,
            };
            if left > 0 {
                return self.take(lane);
            }
            freed.await;
        }
    }

    /// Resolves when a place is given back.
    pub(super) async fn freed(&self) {
        self.0.freed.notified().await;
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut taken = self.places.taken();
            match self.lane {
                Lane::Sync => taken.sync -= 1,
                Lane::Async => taken.asynchronous -= 1,
            }
        }
        // One who waits is woken, and looks again also when nobody did.
        self.places.0.freed.notify_one();
        self.places.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_place_is_never_taken_by_those_who_wait() {
        let places = Places::new(2);
        assert_eq!(places.free(), ClaimLimit { total: 4, sync: 3 });
        let mut taken: Vec<_> = (0..3).map(|_| places.take(Lane::Sync)).collect();
        assert_eq!(places.free(), ClaimLimit { total: 1, sync: 0 });
        assert!(places.are_short());
        let _asynchronous = places.take(Lane::Async);
        let (next, ()) = tokio::join!(places.next(Lane::Sync), async { drop(taken.pop()) });
        assert_eq!(places.free(), ClaimLimit { total: 0, sync: 0 });
        drop((next, taken));
        assert_eq!(places.free(), ClaimLimit { total: 3, sync: 3 });
    }
}
