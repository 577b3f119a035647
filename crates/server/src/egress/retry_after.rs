//! `Retry-After` (RFC 9110, 10.2.3): seconds, or a date in any of HTTP's three forms.

use std::time::Duration;

use filesafety_model::Timestamp;
use http::{HeaderMap, header::RETRY_AFTER};
use jiff::{civil::DateTime, fmt::strtime, tz::TimeZone};

/// How long the answer asks to wait from `now`; zero for a date in the past, `None` without a usable header.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds ask for longer than anyone waits.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    parse_http_date(text).map(|date| date.since(now))
}

fn parse_http_date(text: &str) -> Option<Timestamp> {
    const FORMS: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let date: DateTime = FORMS.iter().find_map(|form| strtime::parse(form, text).ok()?.to_datetime().ok())?;
    let instant = TimeZone::UTC.to_timestamp(date).ok()?;
    Some(Timestamp::from_millis(instant.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        retry_after(&headers, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn passes_over_what_is_no_time() {
        for text in ["", "soon", "-5", "+5", "1.5", "Sun, 06 Nov 1994", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), Timestamp::from_millis(0)), None);
    }

    #[test]
    fn reads_seconds_and_dates() {
        assert_eq!((of("0"), of("120")), (Some(0), Some(120)));
        assert_eq!(of(&"9".repeat(40)), Some(u64::from(u32::MAX)));
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(of(text), Some(37), "{text}");
        }
        assert_eq!(of("Sun, 06 Nov 1993 08:49:37 GMT"), None, "the weekday is wrong");
        assert_eq!(of("Sat, 06 Nov 1993 08:49:37 GMT"), Some(0));
    }
}
