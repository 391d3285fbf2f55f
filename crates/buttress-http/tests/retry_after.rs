//! The server's hints about the next attempt.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::{Duration, SystemTime};

use buttress_core::{Deadline, RetryHint};
use buttress_http::{grpc_pushback, retry_after};
use http::{HeaderMap, HeaderName, HeaderValue};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn retry_after_is_read_in_seconds() {
    assert_eq!(hint("10"), Some(Duration::from_secs(10)));
    assert_eq!(hint("0"), Some(Duration::ZERO));
    assert_eq!(hint("007"), Some(Duration::from_secs(7)));
}

#[test]
fn missing_header_gives_no_hint() {
    assert_eq!(retry_after(&HeaderMap::new()), None);
}

#[test]
fn a_date_counts_from_the_responses_own_date() {
    for date in [
        "Sun, 06 Nov 1994 08:49:47 GMT",
        "Sunday, 06-Nov-94 08:49:47 GMT",
        "Sun Nov  6 08:49:47 1994",
    ] {
        let headers = headers(&[("retry-after", date), ("date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(10)), "{date}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it is the wall clock that is tested")]
fn a_date_without_a_date_next_to_it_counts_from_now() {
    let tomorrow = httpdate::fmt_http_date(SystemTime::now() + DAY);
    let hint = hint(&tomorrow).unwrap();
    assert!(hint <= DAY && hint + Duration::from_secs(60) > DAY, "{hint:?}");
}

#[test]
fn a_date_in_the_past_is_a_hint_to_go_on_at_once() {
    assert_eq!(hint("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
    let skewed = headers(&[
        ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("date", "Tue, 08 Nov 1994 08:49:37 GMT"),
    ]);
    assert_eq!(retry_after(&skewed), Some(Duration::ZERO));
}

#[test]
fn malformed_header_gives_no_hint() {
    for value in ["", "-1", "+1", "1.5", "9e99", "1 0", "0x10", "soon", "Sun, 99 Nov 1994"] {
        assert_eq!(hint(value), None, "{value:?}");
    }
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", HeaderValue::from_bytes(b"1\xff").unwrap());
    assert_eq!(retry_after(&headers), None);
}

#[test]
fn repeated_header_gives_no_hint() {
    assert_eq!(retry_after(&headers(&[("retry-after", "1"), ("retry-after", "2")])), None);
    assert_eq!(
        grpc_pushback(&headers(&[
            ("grpc-retry-pushback-ms", "1"),
            ("grpc-retry-pushback-ms", "1")
        ])),
        Some(RetryHint::Never)
    );
}

#[test]
fn more_than_thirty_years_is_thirty_years() {
    for value in ["99999999999", "18446744073709551616", "99999999999999999999999999"] {
        assert_eq!(hint(value), Some(Deadline::NEVER), "{value}");
    }
    assert_eq!(hint("Fri, 31 Dec 9999 23:59:59 GMT"), Some(Deadline::NEVER));
}

#[test]
fn pushback_is_in_milliseconds() {
    assert_eq!(pushback("0"), Some(RetryHint::Exactly(Duration::ZERO)));
    assert_eq!(pushback("25"), Some(RetryHint::Exactly(Duration::from_millis(25))));
    assert_eq!(
        pushback("2147483647"),
        Some(RetryHint::Exactly(Duration::from_millis(2_147_483_647)))
    );
    assert_eq!(grpc_pushback(&HeaderMap::new()), None);
}

/// gRFC A6, "Pushback".
#[test]
fn pushback_that_is_negative_or_no_number_means_never() {
    for value in ["-1", "", "abc", "9999999999", "2147483648", "+5", "1.5", "-0"] {
        assert_eq!(pushback(value), Some(RetryHint::Never), "{value:?}");
    }
}

fn hint(value: &str) -> Option<Duration> {
    retry_after(&headers(&[("retry-after", value)]))
}

fn pushback(value: &str) -> Option<RetryHint> {
    grpc_pushback(&headers(&[("grpc-retry-pushback-ms", value)]))
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let field = |&(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        headers.append(name, value);
    }
    headers
}
