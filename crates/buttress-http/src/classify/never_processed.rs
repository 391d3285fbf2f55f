use std::{any::Any, error::Error, io, iter};

use buttress_core::{BoxError, Rejection};

/// Whether `error`, or what it stems from, proves that no server began to work on the request: it
/// can be sent again whatever it asks for.
///
/// | what happened | where it is seen |
/// |---|---|
/// | no connection: refused, name not found, a handshake that failed | hyper-util's `is_connect`, tonic's `ConnectError` |
/// | the request was never handed to a connection | hyper's `is_canceled` |
/// | the server reset the stream with `REFUSED_STREAM` | h2, RFC 9113 section 8.7 |
/// | the server went away before it saw the stream | h2, `GOAWAY` with a lower last stream |
///
/// A TLS handshake that was refused, as with an untrusted certificate, would be refused again:
/// the verdict of [`Http`](crate::Http) on it is permanent all the same.
///
/// Everything else may have been processed: a connection that ends before a response, any other
/// reset, a timeout. It needs the feature `hyper`, which `tonic` and `reqwest` imply; without it
/// nothing is proved.
///
/// A client that follows redirects by itself speaks of its last hop. A `POST` that was processed and
/// redirected, to a server that cannot be reached, looks as if it had never been sent: follow
/// redirects above the retry, not below.
#[must_use]
pub fn never_processed(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(proves_never_processed)
}

/// Whether a request that failed with `error` would fail again: the request itself, or what the
/// client was told to do with it, is at fault. Ask [`is_refused`](super::handshake::is_refused) too.
pub(crate) fn is_permanent(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| {
        error.downcast_ref().is_some_and(io_is_permanent)
            || hyper_is_permanent(error)
            || reqwest_is_permanent(error)
            || tonic_is_permanent(error)
    })
}

/// Whether a server's answer is behind a permanent `error`. Any other was made on this side: a request
/// that could not be built, a body that its caller broke off, a certificate that is not trusted.
pub(crate) fn is_answer(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| {
        is_unreadable_answer(error) || is_answer_of_reqwest(error) || tonic_is_permanent(error)
    })
}

/// The rejection of a layer below. One that the body of the request failed with is none.
pub(crate) fn rejection<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Rejection> {
    chain(error).find_map(<dyn Error>::downcast_ref)
}

/// The error as a `dyn Error` whose chain can be walked, if its type is one this crate knows.
///
/// A blanket impl over `Error` cannot include [`BoxError`], which is none; so the types are asked
/// one by one.
pub(crate) fn view<E: 'static>(error: &E) -> Option<&(dyn Error + 'static)> {
    let error: &dyn Any = error;
    if let Some(boxed) = error.downcast_ref::<BoxError>() {
        return Some(boxed.as_ref());
    }
    as_error::<io::Error>(error)
        .or_else(|| as_error::<Rejection>(error))
        .or_else(|| of_hyper(error))
        .or_else(|| of_reqwest(error))
        .or_else(|| of_tonic(error))
}

#[cfg(feature = "hyper")]
fn of_hyper(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    as_error::<hyper_util::client::legacy::Error>(error)
        .or_else(|| as_error::<hyper::Error>(error))
        .or_else(|| as_error::<h2::Error>(error))
}

#[cfg(not(feature = "hyper"))]
fn of_hyper(_: &dyn Any) -> Option<&(dyn Error + 'static)> {
    None
}

#[cfg(feature = "reqwest")]
fn of_reqwest(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    as_error::<reqwest::Error>(error)
}

#[cfg(not(feature = "reqwest"))]
fn of_reqwest(_: &dyn Any) -> Option<&(dyn Error + 'static)> {
    None
}

#[cfg(feature = "tonic")]
fn of_tonic(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    as_error::<tonic::Status>(error).or_else(|| as_error::<tonic::transport::Error>(error))
}

#[cfg(not(feature = "tonic"))]
fn of_tonic(_: &dyn Any) -> Option<&(dyn Error + 'static)> {
    None
}

fn as_error<T: Error + 'static>(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    error.downcast_ref::<T>().map(|error| error as &(dyn Error + 'static))
}

/// The error and its sources, also through [`io::Error`], whose `source` skips the error it wraps.
///
/// It ends at an error of the caller's own making. What the body of a request failed with may be the error
/// of another connection, and says nothing of this one.
pub(crate) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // The bound keeps a source() that returns itself harmless.
    iter::successors(Some(error), |error| cause(*error)).take(LONGEST_CHAIN)
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if is_of_the_caller(error) {
        return None;
    }
    match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|wrapped| wrapped as &(dyn Error + 'static)),
        None => error.source(),
    }
}

fn io_is_permanent(error: &io::Error) -> bool {
    // An error that wraps another says with its kind only how it was wrapped.
    error.get_ref().is_none()
        && matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// The error of a connection's reads and writes. h2's wraps one that is none of its sources.
#[cfg(feature = "hyper")]
pub(crate) fn of_io<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    error.downcast_ref().or_else(|| error.downcast_ref::<h2::Error>()?.get_io())
}

#[cfg(not(feature = "hyper"))]
pub(crate) fn of_io<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    error.downcast_ref()
}

/// Whether the client was still connecting, and what caused the error stands further along its chain.
#[cfg(feature = "hyper")]
pub(crate) fn is_connect(error: &(dyn Error + 'static)) -> bool {
    match error.downcast_ref::<hyper_util::client::legacy::Error>() {
        Some(error) => error.is_connect(),
        None => is_tonic_connect(error),
    }
}

#[cfg(not(feature = "hyper"))]
pub(crate) fn is_connect(_: &(dyn Error + 'static)) -> bool {
    false
}

#[cfg(feature = "hyper")]
fn proves_never_processed(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        error.is_canceled()
    } else if let Some(error) = error.downcast_ref::<h2::Error>() {
        // h2 gives a remote GOAWAY only to streams above its last stream id.
        error.is_remote()
            && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    } else {
        is_connect(error)
    }
}

#[cfg(not(feature = "hyper"))]
fn proves_never_processed(_: &(dyn Error + 'static)) -> bool {
    false
}

#[cfg(feature = "hyper")]
fn hyper_is_permanent(error: &(dyn Error + 'static)) -> bool {
    is_of_the_caller(error) || is_unreadable_answer(error)
}

/// Whether the request is at fault, or its body, which the caller broke off.
///
/// HTTP/1 says so. In HTTP/2 the stream was misused, or was reset from here, which hyper does if the body
/// fails. Or the server reset it with `PROTOCOL_ERROR`, because the request was malformed (RFC 9113,
/// section 8.1.1): its body ended before its `content-length`.
#[cfg(feature = "hyper")]
fn is_of_the_caller(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return error.is_user();
    }
    error.downcast_ref::<h2::Error>().is_some_and(|error| match error.reason() {
        None => !error.is_io(),
        Some(h2::Reason::PROTOCOL_ERROR) if error.is_remote() => error.is_reset(),
        Some(_) => error.is_reset() && !error.is_remote() && !error.is_library(),
    })
}

#[cfg(feature = "hyper")]
fn is_unreadable_answer(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref().is_some_and(hyper::Error::is_parse)
}

#[cfg(not(feature = "hyper"))]
fn is_of_the_caller(_: &(dyn Error + 'static)) -> bool {
    false
}

#[cfg(not(feature = "hyper"))]
fn is_unreadable_answer(_: &(dyn Error + 'static)) -> bool {
    false
}

#[cfg(not(feature = "hyper"))]
fn hyper_is_permanent(_: &(dyn Error + 'static)) -> bool {
    false
}

#[cfg(feature = "reqwest")]
fn reqwest_is_permanent(error: &(dyn Error + 'static)) -> bool {
    let is_builder = error.downcast_ref().is_some_and(reqwest::Error::is_builder);
    is_builder || is_answer_of_reqwest(error)
}

/// Whether reqwest has made an error of an answer.
#[cfg(feature = "reqwest")]
fn is_answer_of_reqwest(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<reqwest::Error>().is_some_and(|error| {
        error.is_redirect() || error.is_status() || error.is_decode() || error.is_upgrade()
    })
}

#[cfg(not(feature = "reqwest"))]
fn reqwest_is_permanent(_: &(dyn Error + 'static)) -> bool {
    false
}

#[cfg(not(feature = "reqwest"))]
fn is_answer_of_reqwest(_: &(dyn Error + 'static)) -> bool {
    false
}

/// tonic turns failures of the transport into a status with a code of its own making; the code
/// counts only where nothing caused it.
#[cfg(feature = "tonic")]
fn tonic_is_permanent(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<tonic::Status>().is_some_and(|status| {
        status.source().is_none() && status.code() != tonic::Code::Unavailable
    })
}

#[cfg(not(feature = "tonic"))]
fn tonic_is_permanent(_: &(dyn Error + 'static)) -> bool {
    false
}

#[cfg(feature = "tonic")]
fn is_tonic_connect(error: &(dyn Error + 'static)) -> bool {
    error.is::<tonic::ConnectError>()
}

#[cfg(all(feature = "hyper", not(feature = "tonic")))]
fn is_tonic_connect(_: &(dyn Error + 'static)) -> bool {
    false
}

const LONGEST_CHAIN: usize = 64;
