//! What one scan may use: one budget across the whole tree of objects.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::unpack::Stop;

/// The bounds of one scan. What lies beyond one is reported as `Heuristics.Limits.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// How many containers may enclose an object; an object at this depth is scanned, and not opened.
    pub depth: u32,
    /// How many objects: the file, its members, decoded streams.
    pub objects: u64,
    /// How many bytes all members together may have.
    pub unpacked_bytes: u64,
    /// Processor time of the scanning thread. Five times as much may pass on the clock.
    pub cpu: Duration,
    /// Below this many unpacked bytes no ratio counts.
    pub ratio_exempt_bytes: u64,
    /// Unpacked bytes for each byte of the file.
    pub ratio: u64,
    /// The largest picture file that is judged.
    pub picture_bytes: u64,
    /// The largest picture that is judged.
    pub picture_pixels: u64,
}

/// Where a scan asks for memory beyond what its caller reserved.
pub trait Memory {
    /// Asks for `bytes` more.
    fn grow(&self, bytes: u64) -> Grant;
    /// Gives back `bytes` of what was granted.
    fn shrink(&self, bytes: u64);
}

/// The answer to [`Memory::grow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    Granted,
    /// Not now: everything is given back, and the caller runs the scan again with more.
    Short,
    /// Not ever: all the memory of all scans would not suffice.
    Beyond,
}

/// Grants everything: for a program that scans for one person.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

/// A bound that was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Depth,
    Objects,
    Bytes,
    Ratio,
    Time,
    Memory,
    Matches,
}

/// Whose processor time counts as the scan's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CpuClock {
    /// The calling thread's, where others scan in the same process.
    Thread,
    /// All of the process, whose threads all work for this scan.
    Process,
}

/// Why a scan stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    Limit(Limit),
    MemoryShort,
}

/// When a scan has to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    clock: CpuClock,
    cpu: Duration,
    wall: Instant,
}

impl Deadline {
    pub(crate) fn has_passed(&self) -> bool {
        self.clock.now() >= self.cpu || Instant::now() >= self.wall
    }
}

/// What is left of the bounds of one scan.
pub(crate) struct Budget<'a> {
    limits: &'a Limits,
    memory: &'a dyn Memory,
    file_bytes: u64,
    objects: u64,
    entries: u64,
    unpacked: u64,
    held: u64,
    granted: u64,
    clock: CpuClock,
    cpu_at_start: Duration,
    started: Instant,
    stopped: Option<Stopped>,
}

impl Limits {
    /// What a scan may hold beside the file itself before it asks [`Memory`].
    pub const FREE_MEMORY: u64 = 32 << 20;

    /// Of entries that hold no object (directories, dictionaries) as many more are walked.
    const ENTRIES_PER_OBJECT: u64 = 10;

    /// Waiting counts too, or a silent clamd would hold a scan for ever.
    const WALL_PER_CPU: u32 = 5;

    /// How much time may pass on the clock.
    pub fn wall(&self) -> Duration {
        self.cpu.saturating_mul(Self::WALL_PER_CPU)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 20,
            objects: 200_000,
            unpacked_bytes: 4 << 30,
            cpu: Duration::from_secs(120),
            ratio_exempt_bytes: 1 << 30,
            ratio: 250,
            picture_bytes: 32 << 20,
            picture_pixels: 120_000_000,
        }
    }
}

impl Memory for Unlimited {
    fn grow(&self, _: u64) -> Grant {
        Grant::Granted
    }

    fn shrink(&self, _: u64) {}
}

impl Limit {
    /// The last word of `Heuristics.Limits.*`.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::Depth => "Depth",
            Self::Objects => "Objects",
            Self::Bytes => "Bytes",
            Self::Ratio => "Ratio",
            Self::Time => "Time",
            Self::Memory => "Memory",
            Self::Matches => "Matches",
        }
    }
}

impl<'a> Budget<'a> {
    pub(crate) fn new(limits: &'a Limits, file_bytes: u64, memory: &'a dyn Memory) -> Self {
        Self {
            limits,
            memory,
            file_bytes,
            objects: 0,
            entries: 0,
            unpacked: 0,
            held: 0,
            granted: 0,
            clock: CpuClock::Thread,
            cpu_at_start: CpuClock::Thread.now(),
            started: Instant::now(),
            stopped: None,
        }
    }

    /// Counts processor time by `clock` from here on.
    pub(crate) fn by(mut self, clock: CpuClock) -> Self {
        (self.clock, self.cpu_at_start) = (clock, clock.now());
        self
    }

    /// Why [`Stop`] was returned, once it was.
    pub(crate) fn stopped(&self) -> Option<Stopped> {
        self.stopped
    }

    /// One more object is examined.
    pub(crate) fn object(&mut self) -> Result<(), Stop> {
        self.objects = self.objects.saturating_add(1);
        if self.objects > self.limits.objects {
            return Err(self.stop(Limit::Objects));
        }
        self.check_time()
    }

    /// One more step of a walk that decodes nothing.
    pub(crate) fn entry(&mut self) -> Result<(), Stop> {
        self.entries = self.entries.saturating_add(1);
        if self.entries > self.limits.objects.saturating_mul(Limits::ENTRIES_PER_OBJECT) {
            return Err(self.stop(Limit::Objects));
        }
        // Asking the clock costs more than most steps do.
        if self.entries.is_multiple_of(64) { self.check_time() } else { Ok(()) }
    }

    /// `bytes` more were decoded.
    pub(crate) fn unpack(&mut self, bytes: u64) -> Result<(), Stop> {
        self.unpacked = self.unpacked.saturating_add(bytes);
        if self.unpacked > self.limits.unpacked_bytes {
            return Err(self.stop(Limit::Bytes));
        }
        let by_ratio = self.file_bytes.saturating_mul(self.limits.ratio).max(self.limits.ratio_exempt_bytes);
        if self.unpacked > by_ratio {
            return Err(self.stop(Limit::Ratio));
        }
        self.check_time()
    }

    /// `bytes` more are held live; to be given back by [`Budget::release`].
    pub(crate) fn hold(&mut self, bytes: u64) -> Result<(), Stop> {
        match self.try_hold(bytes) {
            Grant::Granted => Ok(()),
            Grant::Short => Err(Stop),
            Grant::Beyond => Err(self.stop(Limit::Memory)),
        }
    }

    /// As [`Budget::hold`], for one that can do without: [`Grant::Beyond`] leaves the scan running, [`Grant::Short`] does not.
    pub(crate) fn try_hold(&mut self, bytes: u64) -> Grant {
        let held = self.held.saturating_add(bytes);
        let wanted = held.saturating_sub(Limits::FREE_MEMORY);
        let more = wanted.saturating_sub(self.granted);
        let grant = if more == 0 { Grant::Granted } else { self.memory.grow(more) };
        match grant {
            Grant::Granted => {
                self.granted = self.granted.saturating_add(more);
                self.held = held;
            }
            Grant::Short => self.stopped = Some(Stopped::MemoryShort),
            Grant::Beyond => {}
        }
        grant
    }

    pub(crate) fn release(&mut self, bytes: u64) {
        self.held = self.held.saturating_sub(bytes);
        let surplus = self.granted.saturating_sub(self.held.saturating_sub(Limits::FREE_MEMORY));
        if surplus > 0 {
            self.memory.shrink(surplus);
            self.granted -= surplus;
        }
    }

    /// Processor time that is left; zero once the scan has to end.
    pub(crate) fn time_left(&self) -> Duration {
        let cpu = self.limits.cpu.saturating_sub(self.clock.now().saturating_sub(self.cpu_at_start));
        let wall = self.limits.wall().saturating_sub(self.started.elapsed());
        cpu.min(wall)
    }

    /// For a decoder that cannot ask the budget itself.
    pub(crate) fn deadline(&self) -> Deadline {
        let wall = self.limits.cpu.saturating_mul(Limits::WALL_PER_CPU);
        // A clock that cannot be reckoned so far ahead leaves the processor time.
        let wall = self.started.checked_add(wall).unwrap_or_else(|| self.started + Duration::from_secs(86_400));
        Deadline { clock: self.clock, cpu: self.cpu_at_start.saturating_add(self.limits.cpu), wall }
    }

    /// How many bytes may still be unpacked.
    pub(crate) fn room(&self) -> u64 {
        let by_ratio = self.file_bytes.saturating_mul(self.limits.ratio).max(self.limits.ratio_exempt_bytes);
        self.limits.unpacked_bytes.min(by_ratio).saturating_sub(self.unpacked)
    }

    pub(crate) fn check_time(&mut self) -> Result<(), Stop> {
        if self.time_left().is_zero() { Err(self.stop(Limit::Time)) } else { Ok(()) }
    }

    pub(crate) fn stop(&mut self, limit: Limit) -> Stop {
        // What stopped the scan first is the reason; the rest follows from it.
        self.stopped.get_or_insert(Stopped::Limit(limit));
        Stop
    }
}

impl Drop for Budget<'_> {
    fn drop(&mut self) {
        if self.granted > 0 {
            self.memory.shrink(self.granted);
        }
    }
}

impl CpuClock {
    fn now(self) -> Duration {
        let time = clock_gettime(match self {
            Self::Thread => ClockId::ThreadCPUTime,
            Self::Process => ClockId::ProcessCPUTime,
        });
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Grants up to a bound; beyond it, answers with the second field.
    struct Bounded(Cell<u64>, Grant);

    impl Memory for Bounded {
        fn grow(&self, bytes: u64) -> Grant {
            match self.0.get().checked_sub(bytes) {
                Some(left) => {
                    self.0.set(left);
                    Grant::Granted
                }
                None => self.1,
            }
        }

        fn shrink(&self, bytes: u64) {
            self.0.set(self.0.get() + bytes);
        }
    }

    #[test]
    fn memory_is_asked_for_beyond_the_free_part_and_given_back() {
        let limits = Limits::default();
        let memory = Bounded(Cell::new(100), Grant::Short);
        let mut budget = Budget::new(&limits, 1, &memory);
        assert!(budget.hold(Limits::FREE_MEMORY).is_ok());
        assert_eq!(memory.0.get(), 100);
        assert!(budget.hold(60).is_ok());
        assert_eq!(memory.0.get(), 40);
        budget.release(20);
        assert_eq!(memory.0.get(), 60);
        assert!(budget.hold(61).is_err());
        assert_eq!(budget.stopped(), Some(Stopped::MemoryShort));
        drop(budget);
        assert_eq!(memory.0.get(), 100);
    }

    #[test]
    fn memory_that_can_never_be_is_a_limit() {
        let limits = Limits::default();
        let memory = Bounded(Cell::new(0), Grant::Beyond);
        let mut budget = Budget::new(&limits, 1, &memory);
        assert_eq!(budget.try_hold(Limits::FREE_MEMORY + 1), Grant::Beyond);
        assert_eq!(budget.stopped(), None);
        assert!(budget.hold(Limits::FREE_MEMORY + 1).is_err());
        assert_eq!(budget.stopped(), Some(Stopped::Limit(Limit::Memory)));
    }

    #[test]
    fn a_ratio_counts_only_beyond_the_exempt_bytes() {
        let limits = Limits { ratio: 10, ratio_exempt_bytes: 1_000, ..Limits::default() };
        let mut budget = Budget::new(&limits, 5, &Unlimited);
        assert!(budget.unpack(1_000).is_ok());
        assert!(budget.unpack(1).is_err());
        assert_eq!(budget.stopped(), Some(Stopped::Limit(Limit::Ratio)));
        let mut budget = Budget::new(&limits, 500, &Unlimited);
        assert!(budget.unpack(5_000).is_ok());
    }

    #[test]
    fn the_first_bound_that_is_passed_is_the_reason() {
        let limits = Limits { objects: 1, unpacked_bytes: 1, ..Limits::default() };
        let mut budget = Budget::new(&limits, 5, &Unlimited);
        assert!(budget.object().is_ok() && budget.object().is_err() && budget.unpack(2).is_err());
        assert_eq!(budget.stopped(), Some(Stopped::Limit(Limit::Objects)));
        let limits = Limits { cpu: Duration::ZERO, ..Limits::default() };
        let mut budget = Budget::new(&limits, 5, &Unlimited);
        assert!(budget.object().is_err());
        assert_eq!(budget.stopped(), Some(Stopped::Limit(Limit::Time)));
    }
}
