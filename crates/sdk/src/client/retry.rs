//! When a call is made once more, and how long to wait before.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header::RETRY_AFTER};

/// How often and how patiently a call is repeated. Only what is safe to repeat is.
///
/// ```
/// use std::time::Duration;
/// let patient = filesafety::client::RetryPolicy::default().tries(8).patience(Duration::from_secs(300));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    tries: u32,
    first: Duration,
    longest: Duration,
    patience: Duration,
}

/// What a failed try says about another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setback {
    /// The service asked for this pause.
    pub(super) retry_after: Option<Duration>,
}

impl Default for RetryPolicy {
    /// Four tries, half a second, one second and two seconds apart, or as much later as the service asks for, up to a minute.
    fn default() -> Self {
        Self { tries: 4, first: Duration::from_millis(500), longest: Duration::from_secs(20), patience: Duration::from_secs(60) }
    }
}

impl RetryPolicy {
    /// One try.
    pub fn none() -> Self {
        Self::default().tries(1)
    }

    /// How many tries there are in all, the first included; 0 counts as 1.
    pub fn tries(self, tries: u32) -> Self {
        Self { tries, ..self }
    }

    /// The first pause, and the longest that doubling it comes to. Each pause is shortened by up to a half at random, so that clients
    /// which failed together do not come back together.
    pub fn backoff(self, first: Duration, longest: Duration) -> Self {
        Self { first, longest, ..self }
    }

    /// The longest `Retry-After` that is waited for; a longer one is given to the caller at once.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The pause before the next try when so many were made; `None`: no other. `random` is in 0..=1.
    pub(super) fn pause(&self, made: u32, setback: Setback, random: f64) -> Option<Duration> {
        let asked = setback.retry_after.unwrap_or_default();
        if made >= self.tries || asked > self.patience {
            return None;
        }
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(made.saturating_sub(1)));
        let own = doubled.min(self.longest).mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0);
        Some(own.max(asked))
    }
}

/// `Retry-After` (RFC 9110, 10.2.3), in seconds or as a date; zero for a date in the past, `None` without a usable header.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds ask for longer than anyone waits.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn asking(seconds: u64) -> Setback {
        Setback { retry_after: Some(Duration::from_secs(seconds)) }
    }

    #[test]
    fn tries_come_to_an_end() {
        let policy = RetryPolicy::default().tries(3);
        let pauses: Vec<_> = (1..5).map(|made| policy.pause(made, Setback { retry_after: None }, 0.0)).collect();
        assert_eq!(pauses, [Some(SECOND / 2), Some(SECOND), None, None]);
        assert_eq!(RetryPolicy::none().pause(1, asking(0), 0.0), None);
        assert_eq!(RetryPolicy::default().tries(0).pause(1, asking(0), 0.0), None);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_never_overflow() {
        let policy = RetryPolicy::default().tries(u32::MAX);
        assert_eq!(policy.pause(40, Setback { retry_after: None }, 0.0), Some(20 * SECOND));
        assert_eq!(policy.pause(u32::MAX - 1, Setback { retry_after: None }, 1.0), Some(10 * SECOND));
    }

    #[test]
    fn what_the_service_asks_for_lengthens_and_never_shortens() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.pause(1, asking(7), 0.5), Some(7 * SECOND));
        assert_eq!(policy.pause(3, asking(1), 0.0), Some(2 * SECOND));
        assert_eq!(policy.pause(1, asking(61), 0.0), None);
    }

    #[test]
    fn reads_seconds_and_dates_and_nothing_else() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:00 GMT").unwrap();
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        for text in ["", "soon", "-5", "+5", "1.5", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!([of("0"), of("120"), of(&"9".repeat(40))], [Some(0), Some(120), Some(u64::from(u32::MAX))]);
        assert_eq!([of("Sun, 06 Nov 1994 08:49:37 GMT"), of("Sat, 06 Nov 1993 08:49:37 GMT")], [Some(37), Some(0)]);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
