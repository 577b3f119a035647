//! The memory that all scans hold together.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use filesafety_engine::{Grant, Memory};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Reservations are counted in pages of this size.
const PAGE: u64 = 64 * 1024;

/// What a scan needs besides its file.
const BASE: u64 = 32 << 20;

/// Bounded, first come first served: a large reservation waits at the head and is not overtaken.
#[derive(Clone)]
pub(crate) struct ScanMemory {
    pages: Arc<Semaphore>,
    total: u32,
}

/// One scan's share; given back when dropped.
pub(crate) struct Reservation {
    memory: ScanMemory,
    /// The file and what every scan needs.
    _base: OwnedSemaphorePermit,
    /// What unpacking asked for beyond.
    grown: AtomicU64,
    /// Whether this scan holds everything there is.
    whole: bool,
    /// Bytes that unpacking may take without asking anew.
    spare: u64,
}

impl ScanMemory {
    pub(crate) fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes.div_ceil(PAGE)).unwrap_or(u32::MAX >> 3).clamp(1, u32::MAX >> 3);
        Self { pages: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Whether a file of `file` bytes can ever be scanned within this memory.
    pub(crate) fn fits(&self, file: u64) -> bool {
        pages(file.saturating_add(BASE)) <= self.total
    }

    /// Waits for room for a file of `file` bytes and its scan.
    pub(crate) async fn reserve(&self, file: u64) -> Reservation {
        let wanted = pages(file.saturating_add(BASE));
        let whole = wanted >= self.total;
        self.take(wanted.min(self.total), whole, 0).await
    }

    /// Waits until nothing else runs, then takes everything.
    pub(crate) async fn reserve_whole(&self, file: u64) -> Reservation {
        let spare = (u64::from(self.total) * PAGE).saturating_sub(file.saturating_add(BASE));
        self.take(self.total, true, spare).await
    }

    async fn take(&self, wanted: u32, whole: bool, spare: u64) -> Reservation {
        let base = self.pages.clone().acquire_many_owned(wanted).await.expect("the semaphore is never closed");
        Reservation { memory: self.clone(), _base: base, grown: AtomicU64::new(0), whole, spare }
    }
}

impl Reservation {
    /// What is reserved beyond the file and what every scan needs, asked for or not.
    pub(crate) fn room(&self) -> u64 {
        self.spare
    }
}

impl Memory for Reservation {
    fn grow(&self, bytes: u64) -> Grant {
        let before = self.grown.load(Ordering::Relaxed);
        let after = before.saturating_add(bytes);
        if self.whole {
            if after > self.spare {
                return Grant::Beyond;
            }
        } else {
            let more = pages(after) - pages(before);
            match self.memory.pages.try_acquire_many(more) {
                Ok(permit) => permit.forget(),
                Err(_) => return Grant::Short,
            }
        }
        self.grown.store(after, Ordering::Relaxed);
        Grant::Granted
    }

    fn shrink(&self, bytes: u64) {
        let before = self.grown.load(Ordering::Relaxed);
        let after = before.saturating_sub(bytes);
        if !self.whole {
            self.memory.pages.add_permits((pages(before) - pages(after)) as usize);
        }
        self.grown.store(after, Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink(u64::MAX);
    }
}

fn pages(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PAGE)).unwrap_or(u32::MAX >> 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[tokio::test]
    async fn growth_is_granted_until_the_memory_is_used_up() {
        let memory = ScanMemory::new(100 * MIB);
        let first = memory.reserve(10 * MIB).await;
        assert!(matches!(first.grow(50 * MIB), Grant::Granted));
        assert!(matches!(first.grow(20 * MIB), Grant::Short));
        first.shrink(40 * MIB);
        assert!(matches!(first.grow(20 * MIB), Grant::Granted));
        drop(first);
        assert_eq!(memory.pages.available_permits(), memory.total as usize);
    }

    #[tokio::test]
    async fn only_the_whole_can_be_exceeded_for_good() {
        let memory = ScanMemory::new(100 * MIB);
        let whole = memory.reserve_whole(10 * MIB).await;
        assert!(matches!(whole.grow(58 * MIB), Grant::Granted));
        assert!(matches!(whole.grow(MIB), Grant::Beyond));
        drop(whole);
        assert_eq!(memory.pages.available_permits(), memory.total as usize);
    }

    #[tokio::test]
    async fn a_file_larger_than_the_memory_still_gets_its_turn() {
        let memory = ScanMemory::new(10 * MIB);
        let large = memory.reserve(1 << 40).await;
        assert!(matches!(large.grow(1), Grant::Beyond));
    }
}
