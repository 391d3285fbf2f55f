//! Fuzzes headers of the peer: no panic, bounded waits, and deadlines that never grow.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use buttress_core::{Deadline, Propagate, Replay, RetryHint};
use buttress_http::{Http, encode_grpc_timeout, grpc_pushback, parse_grpc_timeout, retry_after};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    fields: Vec<(Field, &'a [u8])>,
    left: Duration,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Field {
    ContentType,
    Date,
    GrpcTimeout,
    Pushback,
    RetryAfter,
    Timeout,
}

impl Field {
    fn name(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::ContentType => "content-type",
            Self::Date => "date",
            Self::GrpcTimeout => "grpc-timeout",
            Self::Pushback => "grpc-retry-pushback-ms",
            Self::RetryAfter => "retry-after",
            Self::Timeout => "x-timeout-ms",
        })
    }
}

fuzz_target!(|input: Input<'_>| {
    let headers = headers(&input.fields);
    if let Some(delay) = retry_after(&headers) {
        assert!(delay <= Deadline::NEVER);
    }
    if let Some(RetryHint::Exactly(delay)) = grpc_pushback(&headers) {
        assert!(delay <= Duration::from_millis(i32::MAX.unsigned_abs().into()));
    }
    for (_, value) in &input.fields {
        if let Some(timeout) = parse_grpc_timeout(value) {
            assert!(round_trip(timeout) <= timeout);
        }
    }
    assert!(round_trip(input.left) <= input.left);

    let grpc = input.fields.iter().any(|(field, _)| *field == Field::GrpcTimeout);
    replay_and_announce(headers, input.left, grpc);
});

/// Returns the timeout that the peer reads after it was encoded and parsed.
fn round_trip(timeout: Duration) -> Duration {
    let value = encode_grpc_timeout(timeout);
    assert!(value.len() <= 9);
    parse_grpc_timeout(value.as_bytes()).expect("an encoded timeout can be parsed")
}

/// Checks that a replayed request has the same headers, and that an announced deadline is not extended.
fn replay_and_announce(headers: HeaderMap, left: Duration, grpc: bool) {
    let http = Http::new().timeout_header(Field::Timeout.name());
    let mut request = Request::new(());
    *request.headers_mut() = headers;
    if grpc {
        let value = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(Field::ContentType.name(), value);
    }
    let saved = http.save(&mut request);
    let again: Request<()> = http
        .again(&saved.expect("an empty body can be saved"), buttress_core::Attempt::FIRST.next())
        .expect("a head can always be sent again");
    let mut expected = request.headers().clone();
    if again.headers().contains_key("grpc-previous-rpc-attempts") {
        expected.insert("grpc-previous-rpc-attempts", HeaderValue::from_static("1"));
    }
    assert_eq!(again.headers(), &expected);

    let _ = http.deadline(&request);
    if http.set_deadline(&mut request, Deadline::after(left)).is_err() {
        return;
    }
    let announced = match request.headers().get(Field::GrpcTimeout.name()) {
        Some(_) if grpc => shortest(request.headers()),
        _ => return,
    };
    let announced = announced.expect("an announced timeout can be parsed");
    assert!(announced <= left.saturating_add(Duration::from_millis(1)));
}

fn shortest(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(Field::GrpcTimeout.name()).iter();
    values.filter_map(|value| parse_grpc_timeout(value.as_bytes())).min()
}

fn headers(fields: &[(Field, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (field, value) in fields {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(field.name(), value);
        }
    }
    headers
}
