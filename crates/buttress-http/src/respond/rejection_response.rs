use std::fmt::Write;

use buttress_core::{Reason, Rejection};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};

use super::rate_limit_headers::whole_seconds;
use crate::Protocol;

/// The response of `protocol` for a rejection, as the crate docs list under Errors.
pub(crate) fn rejection_response(protocol: Protocol, why: Rejection) -> Response<()> {
    let mut response = Response::new(());
    match protocol {
        Protocol::Http => {
            *response.status_mut() = status(why.reason());
            if let Some(delay) = why.retry_after().filter(|_| may_come_again(why.reason())) {
                response.headers_mut().insert(RETRY_AFTER, whole_seconds(delay).max(1).into());
            }
        }
        Protocol::Grpc => {
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            write_grpc_status(headers, &why);
        }
    }
    response.extensions_mut().insert(why);
    response
}

/// The trailers that end a gRPC response after its head has been sent.
pub(crate) fn grpc_trailers(why: &Rejection) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(3);
    write_grpc_status(&mut trailers, why);
    trailers
}

/// Whether these gRPC trailers say that a deadline has passed.
pub(crate) fn is_deadline_exceeded(trailers: &HeaderMap) -> bool {
    trailers.get(GRPC_STATUS).is_some_and(|status| status == grpc_status(Reason::DeadlineExceeded))
}

fn write_grpc_status(headers: &mut HeaderMap, why: &Rejection) {
    headers.insert(GRPC_STATUS, HeaderValue::from_static(grpc_status(why.reason())));
    // Stubs drop the extensions of a response, so only the message names the layer.
    if let Ok(message) = HeaderValue::try_from(percent_encoded(&why.to_string())) {
        headers.insert(GRPC_MESSAGE, message);
    }
    if let Some(pushback) = pushback(why) {
        headers.insert(GRPC_RETRY_PUSHBACK_MS, pushback);
    }
}

const fn status(reason: Reason) -> StatusCode {
    match reason {
        // RFC 9111, section 5.2.1.7, for `only-if-cached`.
        Reason::DeadlineExceeded | Reason::NotCached => StatusCode::GATEWAY_TIMEOUT,
        Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::NeverAdmissible => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::Superseded => StatusCode::CONFLICT,
        Reason::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        // The answer to a reason that is added later: the service is unavailable for now.
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

const fn grpc_status(reason: Reason) -> &'static str {
    match reason {
        Reason::DeadlineExceeded => "4",
        Reason::RateLimited | Reason::NeverAdmissible => "8",
        Reason::Panicked => "13",
        _ => "14",
    }
}

fn pushback(why: &Rejection) -> Option<HeaderValue> {
    if !may_come_again(why.reason()) {
        return Some(HeaderValue::from_static("-1"));
    }
    let milliseconds = why.retry_after()?.as_nanos().div_ceil(1_000_000);
    Some(i32::try_from(milliseconds).unwrap_or(i32::MAX).into())
}

/// Whether a client should ever send the request again.
const fn may_come_again(reason: Reason) -> bool {
    !matches!(reason, Reason::Superseded | Reason::NeverAdmissible)
}

/// A gRPC `Status-Message`: printable ASCII unchanged, except for `%`, and every other byte as
/// `%XX`.
fn percent_encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a `String` does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_RETRY_PUSHBACK_MS: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
