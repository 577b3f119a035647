//! How often a key may call.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use filesafety_model::KeyId;

use crate::config::Rate;

/// A token bucket for each key.
#[derive(Default)]
pub(crate) struct RateLimiter {
    buckets: Mutex<HashMap<KeyId, Bucket>>,
}

struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

/// Above so many keys, buckets that are full again are forgotten.
const SWEEP_ABOVE: usize = 10_000;

impl RateLimiter {
    /// Takes one call from `key`'s bucket, or says how long to wait for the next.
    pub(crate) fn spend(&self, key: KeyId, rate: Rate, now: Instant) -> Result<(), Duration> {
        let (per_second, burst) = (f64::from(rate.per_second), f64::from(rate.burst));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > SWEEP_ABOVE {
            buckets.retain(|_, bucket| bucket.level(per_second, burst, now) < burst);
        }
        let bucket = buckets.entry(key).or_insert(Bucket { tokens: burst, filled_at: now });
        bucket.tokens = bucket.level(per_second, burst, now);
        bucket.filled_at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - bucket.tokens) / per_second))
    }
}

impl Bucket {
    fn level(&self, per_second: f64, burst: f64, now: Instant) -> f64 {
        let grown = now.saturating_duration_since(self.filled_at).as_secs_f64() * per_second;
        (self.tokens + grown).min(burst)
    }
}

#[cfg(test)]
mod tests {
    use filesafety_model::Timestamp;

    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let limiter = RateLimiter::default();
        let (one, other) = (KeyId::new(Timestamp::from_millis(0), [0; 10]), KeyId::new(Timestamp::from_millis(0), [1; 10]));
        let (rate, start) = (Rate { per_second: 2, burst: 3 }, Instant::now());
        let spent = (0..5).filter(|_| limiter.spend(one, rate, start).is_ok()).count();
        assert_eq!(spent, 3);
        assert_eq!(limiter.spend(one, rate, start), Err(Duration::from_millis(500)));
        assert!(limiter.spend(other, rate, start).is_ok());
        assert!(limiter.spend(one, rate, start + Duration::from_millis(500)).is_ok());
        assert!(limiter.spend(one, rate, start + Duration::from_millis(500)).is_err());
    }
}
