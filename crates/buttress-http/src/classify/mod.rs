pub(crate) mod error_chain;
mod handshake;
pub(crate) mod never_processed;
mod permanent;
pub(crate) mod retry_after;

use std::error::Error;

use buttress_core::{Classify, RetryHint, SeedHint, Verdict};
use http::{HeaderMap, HeaderName, StatusCode};

use self::retry_after::{grpc_pushback, retry_after};
use crate::{Http, Protocol, RequestHead, ResponseHead, message::header_value::find};

/// Judges the head of a response, or the error.
///
/// | outcome | verdict |
/// |---|---|
/// | rejection by an inner layer | that of the rejection |
/// | status below 400 | success |
/// | 429, and 503 with `Retry-After` | throttled, with the hint if known |
/// | 408, 425, 5xx except 501 and 505 | transient |
/// | any other status | permanent |
///
/// For gRPC the `grpc-status` of a response without messages decides. A response with messages is a
/// success, because the layer has passed it on. If an intermediary answered without a
/// `grpc-status`, 429, 502, 503 and 504 count as 14.
///
/// | `grpc-status` | verdict |
/// |---|---|
/// | 14, `UNAVAILABLE` | transient, or throttled if `grpc-retry-pushback-ms` says for how long |
/// | 8, `RESOURCE_EXHAUSTED` | throttled, and not retried unless that header invites it |
/// | 4, `DEADLINE_EXCEEDED` | expired |
/// | any other failure | permanent |
///
/// An error is judged in this order:
///
/// 1. A refused TLS handshake, as with an untrusted certificate, is permanent.
/// 2. An error that [`never_processed`](crate::never_processed) accepts is never processed.
/// 3. An error by the fault of the request or of the client's configuration is permanent, over
///    HTTP/1 and HTTP/2 alike. An upload that its caller breaks off is such an error. A response
///    that cannot be read is permanent, too.
/// 4. Any other [`BoxError`](buttress_core::BoxError), [`std::io::Error`] or error of a client that
///    this crate knows by a feature is transient.
/// 5. An error of any other type is unknown. Nothing repeats the call, because the request itself may
///    be wrong. Give the layer a `.classify(..)` that can read the type, or box the error.
impl<Req, Res, E> Classify<Req, Res, E> for Http
where
    Req: RequestHead,
    Res: ResponseHead,
    E: 'static,
{
    type Seed = Protocol;

    #[inline]
    fn seed(&self, request: &Req) -> Protocol {
        Protocol::of(request.headers())
    }

    #[inline]
    fn seed_hinted(&self, request: &Req, hint: SeedHint) -> Protocol {
        Protocol::of_hint(hint).unwrap_or_else(|| Protocol::of(request.headers()))
    }

    fn classify(&self, protocol: &Protocol, outcome: Result<&Res, &E>) -> Verdict {
        match outcome {
            Ok(response) => match (response.rejection(), protocol) {
                (Some(rejection), _) => Verdict::from_rejection(rejection),
                (None, Protocol::Grpc) => of_grpc(response.status(), response.headers()),
                (None, Protocol::Http) => of_any(response.status(), response.headers()),
            },
            Err(error) => of_error(error),
        }
    }

    /// A response that no inner layer made. For gRPC it must be the service's own: status 200 and a
    /// content type of gRPC, with messages or a `grpc-status`. A response that a proxy makes itself
    /// leaves open how far the service got: a 502, a 504, or a `grpc-status` in an error page.
    fn is_answer(&self, protocol: &Protocol, outcome: Result<&Res, &E>) -> bool {
        outcome.is_ok_and(|response| {
            response.rejection().is_none()
                && match protocol {
                    Protocol::Http => true,
                    Protocol::Grpc => is_of_grpc(response.status(), response.headers()),
                }
        })
    }

    /// An error of a type that this crate knows, unless a response is behind it: a response that
    /// could not be read, or that reqwest or tonic turned into an error. An error of any other type
    /// is [`Unknown`](Verdict::Unknown), and no answer of the service either.
    fn is_callers_own(&self, _: &Protocol, outcome: Result<&Res, &E>) -> bool {
        let error = outcome.err().and_then(|error| error_chain::view(error));
        error.is_some_and(|error| !permanent::is_answer(error))
    }
}

/// Whether a gRPC server made the response: such a server sends 200 for every outcome, and names
/// its content type ("gRPC over HTTP2", Responses).
fn is_of_grpc(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::OK && Protocol::of(headers) == Protocol::Grpc
}

/// The request was not gRPC, but the response may be.
fn of_any(status: StatusCode, headers: &HeaderMap) -> Verdict {
    match Protocol::of(headers) {
        Protocol::Grpc => of_grpc(status, headers),
        Protocol::Http => of_status(status, headers),
    }
}

fn of_status(status: StatusCode, headers: &HeaderMap) -> Verdict {
    let hint = || retry_after(headers).map(RetryHint::After);
    match status.as_u16() {
        ..400 => Verdict::Success,
        429 => Verdict::Throttled(hint()),
        503 => hint().map_or(Verdict::Transient, |hint| Verdict::Throttled(Some(hint))),
        501 | 505 => Verdict::Permanent,
        408 | 425 | 500..600 => Verdict::Transient,
        _ => Verdict::Permanent,
    }
}

fn of_grpc(status: StatusCode, headers: &HeaderMap) -> Verdict {
    match find(headers, &GRPC_STATUS).map(http::HeaderValue::as_bytes) {
        Some(b"0") => Verdict::Success,
        Some(code) => of_code(code, grpc_pushback(headers)),
        None => match status.as_u16() {
            200 => Verdict::Success,
            502 | 504 => of_code(UNAVAILABLE, grpc_pushback(headers)),
            429 | 503 => {
                let hint = || retry_after(headers).map(RetryHint::After);
                of_code(UNAVAILABLE, grpc_pushback(headers).or_else(hint))
            }
            _ => of_code(UNKNOWN, grpc_pushback(headers)),
        },
    }
}

fn of_code(code: &[u8], pushback: Option<RetryHint>) -> Verdict {
    match (code, pushback) {
        (_, Some(RetryHint::Never)) | (RESOURCE_EXHAUSTED, None) => {
            Verdict::Throttled(Some(RetryHint::Never))
        }
        (UNAVAILABLE | RESOURCE_EXHAUSTED, Some(hint)) => Verdict::Throttled(Some(hint)),
        (UNAVAILABLE, None) => Verdict::Transient,
        (DEADLINE_EXCEEDED, _) => Verdict::Expired,
        _ => Verdict::Permanent,
    }
}

/// The verdict on trailers: that of their `grpc-status`, as in a head. Without one, the response
/// has not failed.
pub(crate) fn of_trailers(trailers: &HeaderMap) -> Verdict {
    of_grpc(StatusCode::OK, trailers)
}

/// The verdict on a response whose body failed after its head.
pub(crate) fn of_body_error(error: &(dyn Error + 'static)) -> Verdict {
    error_chain::rejection(error).map_or(Verdict::Transient, Verdict::from_rejection)
}

fn of_error<E: 'static>(error: &E) -> Verdict {
    let Some(error) = error_chain::view(error) else {
        return Verdict::Unknown;
    };
    if let Some(rejection) = error_chain::rejection(error) {
        Verdict::from_rejection(rejection)
    // Before `never_processed`: no server has processed the request, but no attempt would get
    // further.
    } else if handshake::is_refused(error) {
        // No attempt will get any further.
        Verdict::Permanent
    } else if never_processed::never_processed(error) {
        Verdict::NeverProcessed
    } else if permanent::is_permanent(error) {
        Verdict::Permanent
    } else {
        Verdict::Transient
    }
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const UNKNOWN: &[u8] = b"2";
const DEADLINE_EXCEEDED: &[u8] = b"4";
const RESOURCE_EXHAUSTED: &[u8] = b"8";
const UNAVAILABLE: &[u8] = b"14";
