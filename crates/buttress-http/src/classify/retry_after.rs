use std::{
    str,
    time::{Duration, SystemTime},
};

use buttress_core::{Deadline, RetryHint};
use http::{
    HeaderMap, HeaderName,
    header::{DATE, RETRY_AFTER},
};

use crate::message::header_value::{self, date, number, only, wall_clock};

/// Returns the delay that `Retry-After` asks for, in seconds or as a date (RFC 9110, section
/// 10.2.3).
///
/// A date counts from the response's own `Date`, so that both clocks need not agree, or from the
/// system's clock without a `Date`. A past date is zero. More than thirty years count as thirty
/// years. A header that is malformed or occurs twice is ignored.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = only(headers, &RETRY_AFTER)?;
    let delay =
        number(value).map(Duration::from_secs).or_else(|| Some(until(date(value)?, headers)))?;
    Some(delay.min(Deadline::NEVER))
}

/// Returns the hint of `grpc-retry-pushback-ms` (gRFC A6): an exact delay in milliseconds, or
/// [`RetryHint::Never`] for a negative or malformed value.
#[must_use]
pub fn grpc_pushback(headers: &HeaderMap) -> Option<RetryHint> {
    if !headers.contains_key(PUSHBACK) {
        return None;
    }
    let delay = only(headers, &PUSHBACK)
        .filter(|value| value.iter().all(u8::is_ascii_digit))
        .and_then(|digits| str::from_utf8(digits).ok()?.parse::<i32>().ok())
        .and_then(|millis| u64::try_from(millis).ok());
    Some(delay.map_or(RetryHint::Never, |millis| RetryHint::Exactly(Duration::from_millis(millis))))
}

fn until(date: SystemTime, headers: &HeaderMap) -> Duration {
    let now = only(headers, &DATE).and_then(header_value::date).unwrap_or_else(wall_clock);
    date.duration_since(now).unwrap_or_default()
}

const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
