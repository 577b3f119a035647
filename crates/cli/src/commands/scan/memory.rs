//! The memory that the scans of all threads hold together.

use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use filesafety_engine::{Grant, Memory};

/// What a scan needs besides its file.
const BASE: u64 = 32 << 20;

/// Bounded. A scan that does not fit waits; one that is alone may always run.
pub(super) struct ScanMemory {
    total: u64,
    held: Mutex<Held>,
    freed: Condvar,
}

#[derive(Default)]
struct Held {
    bytes: u64,
    scans: usize,
    /// Scans that run alone or wait to; nothing else begins meanwhile.
    alone: usize,
}

/// One scan's share; given back when dropped.
pub(super) struct Share<'a> {
    memory: &'a ScanMemory,
    bytes: AtomicU64,
    alone: bool,
}

impl ScanMemory {
    pub(super) fn new(total: u64) -> Self {
        Self { total, held: Mutex::default(), freed: Condvar::new() }
    }

    /// Waits for room for a file of `file` bytes and its scan.
    pub(super) fn reserve(&self, file: u64) -> Share<'_> {
        let bytes = file.saturating_add(BASE);
        let fits = |held: &Held| held.alone == 0 && (held.scans == 0 || held.bytes.saturating_add(bytes) <= self.total);
        let held = self.freed.wait_while(self.lock(), |held| !fits(held)).unwrap_or_else(PoisonError::into_inner);
        self.begin(held, bytes, false)
    }

    /// Waits until no other scan runs, and keeps others from beginning.
    pub(super) fn reserve_alone(&self, file: u64) -> Share<'_> {
        let mut held = self.lock();
        held.alone += 1;
        let held = self.freed.wait_while(held, |held| held.scans > 0).unwrap_or_else(PoisonError::into_inner);
        self.begin(held, file.saturating_add(BASE), true)
    }

    fn begin(&self, mut held: MutexGuard<'_, Held>, bytes: u64, alone: bool) -> Share<'_> {
        held.bytes = held.bytes.saturating_add(bytes);
        held.scans += 1;
        Share { memory: self, bytes: AtomicU64::new(bytes), alone }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share<'_> {
    /// What is reserved beyond the file and what every scan needs: of one that runs alone, all there is.
    pub(super) fn room(&self) -> u64 {
        if self.alone { self.memory.total.saturating_sub(self.bytes.load(Ordering::Relaxed)) } else { 0 }
    }
}

impl Memory for Share<'_> {
    fn grow(&self, bytes: u64) -> Grant {
        let mut held = self.memory.lock();
        if held.bytes.saturating_add(bytes) > self.memory.total {
            return if held.scans == 1 { Grant::Beyond } else { Grant::Short };
        }
        held.bytes += bytes;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Grant::Granted
    }

    fn shrink(&self, bytes: u64) {
        let bytes = bytes.min(self.bytes.load(Ordering::Relaxed));
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.memory.lock().bytes -= bytes;
        self.memory.freed.notify_all();
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.shrink(u64::MAX);
        let mut held = self.memory.lock();
        held.scans -= 1;
        held.alone -= usize::from(self.alone);
        drop(held);
        self.memory.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn growth_is_short_beside_others_and_beyond_alone() {
        let memory = ScanMemory::new(100 * MIB);
        let one = memory.reserve(8 * MIB);
        let other = memory.reserve(8 * MIB);
        assert!(matches!(one.grow(20 * MIB), Grant::Granted));
        assert!(matches!(one.grow(MIB), Grant::Short));
        drop(other);
        assert!(matches!(one.grow(40 * MIB), Grant::Granted));
        assert!(matches!(one.grow(MIB), Grant::Beyond));
        one.shrink(60 * MIB);
        drop(one);
        let held = memory.lock();
        assert_eq!((held.bytes, held.scans), (0, 0));
    }

    #[test]
    fn a_file_larger_than_the_memory_still_gets_its_turn() {
        let memory = ScanMemory::new(MIB);
        drop(memory.reserve(1 << 40));
        let alone = memory.reserve_alone(1 << 40);
        assert!(matches!(alone.grow(1), Grant::Beyond));
    }
}
