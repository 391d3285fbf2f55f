use std::time::{Duration, SystemTime};

use buttress_core::Deadline;
use http::{
    HeaderMap,
    header::{AGE, DATE, EXPIRES},
};

use super::cache_control::CacheControl;
use crate::message::header_value::{date, members, number, only};

/// The freshness lifetime that a response states (RFC 9111, section 4.2.1): `s-maxage`, otherwise
/// `max-age`, otherwise `Expires` less `Date`. `None` without any of these.
///
/// A malformed or repeated `Expires` is in the past. Without a `Date` it counts from `now`.
pub(crate) fn explicit_lifetime(
    headers: &HeaderMap,
    control: &CacheControl,
    now: SystemTime,
) -> Option<Duration> {
    let seconds = control.s_maxage.or(control.max_age).map(Duration::from_secs);
    let lifetime = seconds.or_else(|| {
        headers.contains_key(EXPIRES).then(|| until_expiry(headers, now).unwrap_or_default())
    })?;
    Some(lifetime.min(Deadline::NEVER))
}

/// The age of a response that arrived at `now`, `delay` after its request was sent (RFC 9111,
/// section 4.2.3): `Age` and the delay, or the time since its `Date`, if that is more.
///
/// The largest of several ages counts, and a value that is no number is ignored. A `Date` in the
/// future counts as now.
pub(crate) fn age(headers: &HeaderMap, now: SystemTime, delay: Duration) -> Duration {
    let value = members(headers, &AGE).filter_map(number).max().unwrap_or_default();
    let corrected = Duration::from_secs(value).saturating_add(delay);
    let apparent = made(headers).and_then(|date| now.duration_since(date).ok());
    corrected.max(apparent.unwrap_or_default()).min(Deadline::NEVER)
}

fn until_expiry(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let expires = only(headers, &EXPIRES).and_then(date)?;
    expires.duration_since(made(headers).unwrap_or(now)).ok()
}

fn made(headers: &HeaderMap) -> Option<SystemTime> {
    only(headers, &DATE).and_then(date)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";

    #[test]
    fn explicit_lifetime_follows_the_table() {
        for (lines, expected) in [
            (&[][..], None),
            (&[("cache-control", "public")], None),
            (&[("cache-control", "max-age=60")], Some(60)),
            (&[("cache-control", "max-age=60, s-maxage=10")], Some(10)),
            (&[("cache-control", "s-maxage=100, max-age=60")], Some(100)),
            (&[("cache-control", "max-age=60"), ("cache-control", "max-age=5")], Some(5)),
            (&[("cache-control", "max-age=60"), ("expires", "0")], Some(60)),
            (&[("cache-control", "max-age=60"), ("expires", NOON)], Some(60)),
            (&[("cache-control", "s-maxage=x, max-age=60")], Some(0)),
            (&[("expires", "Sun, 06 Nov 1994 12:00:30 GMT")], Some(30)),
            (&[("expires", "Sunday, 06-Nov-94 12:00:30 GMT")], Some(30)),
            (&[("expires", "Sun Nov  6 12:00:30 1994")], Some(30)),
            (&[("expires", "Sun, 06 Nov 1994 11:59:59 GMT")], Some(0)),
            (&[("expires", "0")], Some(0)),
            (&[("expires", "-1")], Some(0)),
            (&[("expires", "")], Some(0)),
            (&[("expires", "never")], Some(0)),
            // The origin's clock is an hour behind, and both are of that clock.
            (
                &[
                    ("date", "Sun, 06 Nov 1994 11:00:00 GMT"),
                    ("expires", "Sun, 06 Nov 1994 11:00:30 GMT"),
                ],
                Some(30),
            ),
            (&[("date", "today"), ("expires", "Sun, 06 Nov 1994 12:00:30 GMT")], Some(30)),
            (
                &[
                    ("expires", "Sun, 06 Nov 1994 12:00:30 GMT"),
                    ("expires", "Sun, 06 Nov 1994 12:00:30 GMT"),
                ],
                Some(0),
            ),
        ] {
            let headers = headers(lines);
            let lifetime = explicit_lifetime(&headers, &CacheControl::of(&headers), noon());
            assert_eq!(lifetime, expected.map(Duration::from_secs), "{lines:?}");
        }
    }

    #[test]
    fn explicit_lifetime_is_capped_at_thirty_years() {
        let headers = headers(&[("cache-control", "max-age=99999999999999999999999")]);
        let lifetime = explicit_lifetime(&headers, &CacheControl::of(&headers), noon());
        assert_eq!(lifetime, Some(Deadline::NEVER));
    }

    #[test]
    fn age_of_a_response_follows_the_table() {
        for (lines, expected) in [
            (&[][..], 0),
            (&[("age", "7")], 7),
            (&[("age", "7, 9")], 9),
            (&[("age", "9"), ("age", "7")], 9),
            (&[("age", "-7")], 0),
            (&[("age", "7.5")], 0),
            (&[("age", "x"), ("age", "3")], 3),
            (&[("age", "99999999999999999999999")], Deadline::NEVER.as_secs()),
            (&[("date", NOON)], 0),
            (&[("date", "Sun, 06 Nov 1994 11:59:50 GMT")], 10),
            (&[("date", "Sun, 06 Nov 1994 11:59:50 GMT"), ("age", "7")], 10),
            (&[("date", "Sun, 06 Nov 1994 11:59:50 GMT"), ("age", "70")], 70),
            (&[("date", "Sun, 06 Nov 1994 13:00:00 GMT"), ("age", "7")], 7),
            (&[("date", "yesterday"), ("age", "7")], 7),
        ] {
            let age = age(&headers(lines), noon(), Duration::ZERO);
            assert_eq!(age, Duration::from_secs(expected), "{lines:?}");
        }
    }

    #[test]
    fn delay_adds_to_the_age_header_and_not_to_the_date() {
        let ten_ago = ("date", "Sun, 06 Nov 1994 11:59:50 GMT");
        for (lines, expected) in [
            (&[][..], 4),
            (&[("age", "7")], 11),
            (&[ten_ago], 10),
            (&[ten_ago, ("age", "5")], 10),
            (&[ten_ago, ("age", "7")], 11),
        ] {
            let age = age(&headers(lines), noon(), Duration::from_secs(4));
            assert_eq!(age, Duration::from_secs(expected), "{lines:?}");
        }
        let oldest = age(&headers(&[("age", "9")]), noon(), Duration::MAX);
        assert_eq!(oldest, Deadline::NEVER);
    }

    fn noon() -> SystemTime {
        httpdate::parse_http_date(NOON).unwrap()
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            headers.append(name, value);
        }
        headers
    }
}
