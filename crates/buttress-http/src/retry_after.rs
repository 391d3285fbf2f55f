use std::{
    str,
    time::{Duration, SystemTime},
};

use buttress_core::{Deadline, Hint};
use http::{
    HeaderMap, HeaderName,
    header::{DATE, RETRY_AFTER},
};

/// What `Retry-After` asks for: seconds, or a date (RFC 9110, section 10.2.3).
///
/// A date counts from the response's own `Date`, so that the two clocks need not agree, and from
/// the system's clock where there is none. A date in the past is zero. More than thirty years counts
/// as thirty years. A header that is malformed or stands there twice says nothing.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = only(headers, &RETRY_AFTER)?;
    let delay = seconds(value).or_else(|| Some(until(date(value)?, headers)))?;
    Some(delay.min(Deadline::NEVER))
}

/// What `grpc-retry-pushback-ms` asks for (gRFC A6): milliseconds, and [`Hint::Never`] if it is
/// negative or anything else.
#[must_use]
pub fn grpc_pushback(headers: &HeaderMap) -> Option<Hint> {
    if !headers.contains_key(PUSHBACK) {
        return None;
    }
    let delay = only(headers, &PUSHBACK)
        .filter(|value| value.iter().all(u8::is_ascii_digit))
        .and_then(|digits| str::from_utf8(digits).ok()?.parse::<i32>().ok())
        .and_then(|millis| u64::try_from(millis).ok());
    Some(delay.map_or(Hint::Never, |millis| Hint::After(Duration::from_millis(millis))))
}

/// The value of a header that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value.as_bytes().trim_ascii())
}

/// `1*DIGIT`; more than fits is the most there is.
fn seconds(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = value.iter().fold(0_u64, |seconds, digit| {
        seconds.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    Some(Duration::from_secs(seconds))
}

/// A date in any of the three forms that HTTP has had.
fn date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(str::from_utf8(value).ok()?).ok()
}

fn until(date: SystemTime, headers: &HeaderMap) -> Duration {
    let now = only(headers, &DATE).and_then(self::date).unwrap_or_else(wall_clock);
    date.duration_since(now).unwrap_or_default()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a date without a `Date` next to it can be read against nothing else"
)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
