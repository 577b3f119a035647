//! The circuit of one host and port: spares a receiver that is down most of the attempts that would fail.

use std::time::{Duration, Instant};

/// So many failures in a row open it,
const FAILURES: u32 = 20;
/// once they go on for so long.
const OVER: Duration = Duration::from_secs(60);
/// While it is open, one attempt in so long probes whether the receiver is back.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// No attempt is postponed by more than this.
pub(super) const LONGEST_POSTPONED: Duration = Duration::from_secs(60);

/// Failures in a row, and what follows from them.
#[derive(Clone, Debug, Default)]
pub(super) struct Circuit {
    failures: u32,
    /// When the first of them ended.
    failing_since: Option<Instant>,
    /// When the next probe may leave; `Some` while the circuit is open.
    probe_at: Option<Instant>,
}

/// Whether an attempt may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    Free,
    /// One may, to see.
    Probe,
    /// None, until the next probe.
    Shut {
        probe_at: Instant,
    },
}

impl Circuit {
    pub(super) fn passage(&self, now: Instant) -> Passage {
        match self.probe_at {
            None => Passage::Free,
            Some(probe_at) if probe_at <= now => Passage::Probe,
            Some(probe_at) => Passage::Shut { probe_at },
        }
    }

    /// A probe leaves.
    pub(super) fn probe(&mut self, now: Instant) {
        if self.probe_at.is_some() {
            self.probe_at = Some(now + PROBE_EVERY);
        }
    }

    pub(super) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// True when this failure opens it.
    pub(super) fn fail(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        let opens = self.probe_at.is_none() && self.failures >= FAILURES && now.saturating_duration_since(since) >= OVER;
        if opens {
            self.probe_at = Some(now + PROBE_EVERY);
        }
        opens
    }

    /// The last attempt failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    pub(super) fn is_open(&self) -> bool {
        self.probe_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// After so many failures, this far apart.
    fn after(failures: u32, apart: Duration, start: Instant) -> (Circuit, Instant) {
        let (mut circuit, mut now) = (Circuit::default(), start);
        for number in 0..failures {
            now = start + apart * number;
            circuit.fail(now);
        }
        (circuit, now)
    }

    #[test]
    fn opens_after_twenty_failures_over_a_minute() {
        let start = Instant::now();
        let (circuit, now) = after(19, seconds(10), start);
        assert_eq!(circuit.passage(now), Passage::Free, "19 failures");
        let (mut circuit, now) = after(20, seconds(3), start);
        assert_eq!(circuit.passage(now), Passage::Free, "20 failures in 57 s");
        assert!(circuit.fail(start + seconds(60)), "the 21st, after a minute");
        let (circuit, now) = after(20, seconds(4), start);
        assert_eq!(circuit.passage(now), Passage::Shut { probe_at: now + seconds(10) });
    }

    #[test]
    fn a_burst_of_failures_alone_does_not_open_it() {
        let start = Instant::now();
        let (mut circuit, now) = after(10_000, Duration::from_millis(1), start);
        assert_eq!(circuit.passage(now), Passage::Free);
        assert!(circuit.fail(start + seconds(60)));
    }

    #[test]
    fn one_success_forgets_all_failures() {
        let start = Instant::now();
        let (mut circuit, now) = after(19, seconds(60), start);
        circuit.succeed();
        assert!(!circuit.fail(now + seconds(60)) && circuit.is_failing());
        let (mut open, now) = after(30, seconds(60), start);
        assert!(open.is_open());
        open.succeed();
        assert_eq!((open.passage(now), open.is_failing(), open.is_open()), (Passage::Free, false, false));
    }

    #[test]
    fn a_probe_leaves_every_ten_seconds() {
        let start = Instant::now();
        let (mut circuit, now) = after(20, seconds(4), start);
        let mut probes = Vec::new();
        for second in 0..35 {
            let now = now + seconds(second);
            if circuit.passage(now) == Passage::Probe {
                probes.push(second);
                circuit.probe(now);
                assert!(matches!(circuit.passage(now), Passage::Shut { .. }), "one at a time");
                assert!(!circuit.fail(now + seconds(1)), "it is open already");
            }
        }
        assert_eq!(probes, [10, 20, 30]);
    }

    #[test]
    fn nothing_probes_a_closed_circuit() {
        let mut circuit = Circuit::default();
        circuit.probe(Instant::now());
        assert!(!circuit.is_open());
    }
}
