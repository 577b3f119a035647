//! Notices when the wall clock was set.
//!
//! Plans are in wall-clock time, since they outlive the process; this compares it with a clock that nobody sets.

use std::time::{Duration, Instant};

use filesafety_model::Timestamp;

/// Less is no jump: clocks are slewed, and readings are not taken at one moment.
const JUMP: Duration = Duration::from_secs(5);

/// The last reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drift {
    wall: Timestamp,
    instant: Instant,
}

/// Where the wall clock went besides its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Jump {
    Forward(Duration),
    Back(Duration),
}

impl Drift {
    pub(super) fn new(wall: Timestamp, instant: Instant) -> Self {
        Self { wall, instant }
    }

    /// The jump since the last reading.
    pub(super) fn read(&mut self, wall: Timestamp, instant: Instant) -> Option<Jump> {
        let expected = self.wall.plus(instant.saturating_duration_since(self.instant));
        *self = Self { wall, instant };
        let (forward, back) = (wall.since(expected), expected.since(wall));
        if forward >= JUMP {
            Some(Jump::Forward(forward))
        } else if back >= JUMP {
            Some(Jump::Back(back))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn tells_jumps_from_time_that_passes() {
        let (wall, start) = (Timestamp::from_millis(1_790_000_000_000), Instant::now());
        let mut drift = Drift::new(wall, start);
        assert_eq!(drift.read(wall.plus(HOUR), start + HOUR), None);
        assert_eq!(drift.read(wall.plus(HOUR).plus(Duration::from_secs(4)), start + HOUR), None, "slewed");
        let back = drift.read(wall.plus(Duration::from_secs(4)), start + HOUR);
        assert_eq!(back, Some(Jump::Back(HOUR)));
        assert_eq!(drift.read(wall.plus(Duration::from_secs(5)), start + HOUR + Duration::from_secs(1)), None, "told once");
        assert_eq!(drift.read(wall.plus(HOUR), start + HOUR + Duration::from_secs(1)), Some(Jump::Forward(HOUR - Duration::from_secs(5))));
    }
}
