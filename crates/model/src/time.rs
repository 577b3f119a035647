//! Instants, to the millisecond, in UTC.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since 1970-01-01T00:00:00Z. Shown as RFC 3339 with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// The text is not an RFC 3339 instant between the years 1970 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time such as 2026-01-31T12:00:00Z")]
pub struct TimestampError;

/// 9999-12-31T23:59:59.999Z, the last instant that RFC 3339 can write.
const LAST_MILLIS: i64 = 253_402_300_799_999;

impl Timestamp {
    /// `millis` is clamped to the years 1970 to 9999.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, LAST_MILLIS))
    }

    pub fn as_millis(self) -> i64 {
        self.0
    }

    pub fn plus(self, wait: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
    }

    pub fn minus(self, wait: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// The start of the calendar month after this instant, in UTC.
    pub fn next_month(self) -> Self {
        let date = self.civil();
        let (year, month) = if date.month() == 12 { (date.year() + 1, 1) } else { (date.year(), date.month() + 1) };
        Self::month_start(year, month)
    }

    /// The start of this instant's calendar month, in UTC.
    pub fn this_month(self) -> Self {
        let date = self.civil();
        Self::month_start(date.year(), date.month())
    }

    fn month_start(year: i16, month: i8) -> Self {
        let start = jiff::civil::Date::new(year, month, 1)
            .ok()
            .and_then(|date| jiff::tz::TimeZone::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::midnight())).ok());
        Self::from_millis(start.map_or(LAST_MILLIS, |instant| instant.as_millisecond()))
    }

    fn civil(self) -> jiff::civil::DateTime {
        jiff::tz::TimeZone::UTC.to_datetime(self.instant())
    }

    fn instant(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).expect("the value is clamped to years that jiff knows")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.instant())
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let instant: jiff::Timestamp = text.parse().map_err(|_| TimestampError)?;
        let millis = instant.as_millisecond();
        if (0..=LAST_MILLIS).contains(&millis) { Ok(Self(millis)) } else { Err(TimestampError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_milliseconds_and_reads_them_back() {
        let time = Timestamp::from_millis(1_790_000_000_120);
        assert_eq!(time.to_string(), "2026-09-21T14:13:20.120Z");
        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!("2026-09-21T16:13:20.12+02:00".parse(), Ok(time));
    }

    #[test]
    fn refuses_what_is_no_instant() {
        for text in ["", "yesterday", "2026-09-21", "1600-01-01T00:00:00Z"] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn months_turn_over_in_utc() {
        let december: Timestamp = "2026-12-31T23:59:59.999Z".parse().unwrap();
        assert_eq!(december.next_month().to_string(), "2027-01-01T00:00:00.000Z");
        assert_eq!(december.this_month().to_string(), "2026-12-01T00:00:00.000Z");
    }
}
