//! When a delivery is tried again.

use std::{str::FromStr, time::Duration};

use crate::Timestamp;

/// The waits between attempts. `n` waits make `n + 1` attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySchedule {
    waits: Vec<Duration>,
}

/// The text is not a list of waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetryScheduleError {
    #[error("{0:?} is not a wait such as 10s, 1m or 500ms")]
    BadWait(String),
    #[error("lists more than {} waits", RetrySchedule::MAX_WAITS)]
    TooMany,
}

/// How far a receiver's `Retry-After` can push the next attempt.
const LONGEST_ASKED: Duration = Duration::from_secs(15 * 60);

/// Each wait is stretched or cut by up to this share, so that many deliveries that failed together do not come back together.
const JITTER: f64 = 0.1;

impl RetrySchedule {
    pub const MAX_WAITS: usize = 20;

    pub fn waits(&self) -> &[Duration] {
        &self.waits
    }

    /// When to try again after attempt number `attempt` (from 1) failed at `now`; `None` when that was the last.
    ///
    /// `jitter` is a random number in 0..1. `asked` is the receiver's `Retry-After`: it lengthens the wait, up to 15 minutes, and never shortens it.
    pub fn next_attempt_at(&self, now: Timestamp, attempt: u32, jitter: f64, asked: Option<Duration>) -> Option<Timestamp> {
        let index = usize::try_from(attempt).ok()?.checked_sub(1)?;
        let wait = self.waits.get(index)?;
        let wait = wait.mul_f64(1.0 + JITTER * (2.0 * jitter.clamp(0.0, 1.0) - 1.0));
        let asked = asked.unwrap_or(Duration::ZERO).min(LONGEST_ASKED);
        Some(now.plus(wait.max(asked)))
    }

    /// No attempt is planned further ahead than this, whatever the receiver asks.
    pub fn longest_wait(&self) -> Duration {
        let longest = self.waits.iter().max().copied().unwrap_or_default();
        longest.mul_f64(1.0 + JITTER).max(LONGEST_ASKED)
    }
}

impl Default for RetrySchedule {
    fn default() -> Self {
        Self { waits: [10, 60, 300].map(Duration::from_secs).to_vec() }
    }
}

impl FromStr for RetrySchedule {
    type Err = RetryScheduleError;

    /// Reads `10s,1m,5m`; the empty text means no retries.
    fn from_str(text: &str) -> Result<Self, RetryScheduleError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let waits = parts
            .map(|part| parse_wait(part).ok_or_else(|| RetryScheduleError::BadWait(part.to_owned())))
            .collect::<Result<Vec<_>, _>>()?;
        if waits.len() > Self::MAX_WAITS { Err(RetryScheduleError::TooMany) } else { Ok(Self { waits }) }
    }
}

fn parse_wait(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..split].parse().ok()?;
    let millis = match &text[split..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_after(attempt: u32, jitter: f64, asked: Option<u64>) -> Option<u64> {
        let start = Timestamp::from_millis(0);
        let next = RetrySchedule::default().next_attempt_at(start, attempt, jitter, asked.map(Duration::from_secs));
        next.map(|time| time.since(start).as_secs())
    }

    #[test]
    fn three_retries_then_none() {
        assert_eq!([1, 2, 3, 4].map(|attempt| wait_after(attempt, 0.5, None)), [Some(10), Some(60), Some(300), None]);
        assert_eq!(wait_after(0, 0.5, None), None);
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        assert_eq!((wait_after(2, 0.0, None), wait_after(2, 1.0, None)), (Some(54), Some(66)));
    }

    #[test]
    fn retry_after_lengthens_up_to_fifteen_minutes_and_never_shortens() {
        assert_eq!(wait_after(1, 0.5, Some(30)), Some(30));
        assert_eq!(wait_after(1, 0.5, Some(1)), Some(10));
        assert_eq!(wait_after(1, 0.5, Some(86_400)), Some(900));
        assert_eq!(wait_after(4, 0.5, Some(30)), None);
    }

    #[test]
    fn no_wait_is_longer_than_the_longest() {
        assert_eq!(RetrySchedule::default().longest_wait(), Duration::from_secs(900));
        let long: RetrySchedule = "1s,10h".parse().unwrap();
        assert_eq!(long.longest_wait(), Duration::from_secs(39_600));
        let start = Timestamp::from_millis(0);
        assert_eq!(long.next_attempt_at(start, 2, 1.0, None), Some(start.plus(long.longest_wait())));
        assert_eq!(long.next_attempt_at(start, 1, 1.0, Some(Duration::MAX)), Some(start.plus(Duration::from_secs(900))));
    }

    #[test]
    fn clocks_that_were_set_neither_stop_retries_nor_hurry_them() {
        let schedule = RetrySchedule::default();
        let hour = Duration::from_secs(3600);
        let now: Timestamp = "2026-09-21T12:00:00Z".parse().unwrap();
        for set in [now.plus(hour), now.minus(hour), Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX)] {
            // The wait counts from the clock as it is when the attempt ends, so that no past can make it zero.
            let next = schedule.next_attempt_at(set, 1, 0.0, Some(Duration::ZERO)).unwrap();
            assert!(next.since(set) == Duration::from_secs(9) || set == Timestamp::from_millis(i64::MAX));
        }
    }

    #[test]
    fn reads_lists_of_waits() {
        assert_eq!("10s,1m,5m".parse(), Ok(RetrySchedule::default()));
        assert_eq!("".parse::<RetrySchedule>().unwrap().waits().len(), 0);
        assert_eq!("5".parse::<RetrySchedule>(), Err(RetryScheduleError::BadWait("5".into())));
        assert_eq!("1d".parse::<RetrySchedule>(), Err(RetryScheduleError::BadWait("1d".into())));
        assert_eq!("1s,".repeat(21).parse::<RetrySchedule>(), Err(RetryScheduleError::TooMany));
    }
}
