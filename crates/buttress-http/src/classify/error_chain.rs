use std::{any::Any, error::Error, io, iter};

use buttress_core::{BoxError, Rejection};

/// The error as a `dyn Error` whose chain can be walked, if this crate knows its type.
///
/// A blanket impl over `Error` cannot include [`BoxError`], which does not implement it. So the
/// types are asked in turn.
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

/// The rejection of an inner layer. A rejection in the error of the request body does not count.
pub(super) fn rejection<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Rejection> {
    chain(error).find_map(<dyn Error>::downcast_ref)
}

/// The error and its sources, also through [`io::Error`], whose `source` skips the error that it
/// wraps.
///
/// The chain ends at an error of the caller's own making. The error of a request body may come from
/// another connection, and says nothing about this one.
pub(super) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // The bound stops at a `source()` that returns itself.
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

/// The error of a connection's reads and writes. h2's error wraps an error that is not among its
/// sources.
#[cfg(feature = "hyper")]
pub(super) fn of_io<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    error.downcast_ref().or_else(|| error.downcast_ref::<h2::Error>()?.get_io())
}

#[cfg(not(feature = "hyper"))]
pub(super) fn of_io<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    error.downcast_ref()
}

/// Whether the client was still connecting. The cause is then further along the chain.
#[cfg(feature = "hyper")]
pub(super) fn is_connect(error: &(dyn Error + 'static)) -> bool {
    match error.downcast_ref::<hyper_util::client::legacy::Error>() {
        Some(error) => error.is_connect(),
        None => is_tonic_connect(error),
    }
}

#[cfg(not(feature = "hyper"))]
pub(super) fn is_connect(_: &(dyn Error + 'static)) -> bool {
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

/// Whether the request is at fault, or its body, which the caller broke off.
///
/// HTTP/1 says so. In HTTP/2 the stream was misused, or was reset from this side, which hyper does
/// if the body fails. Or the server reset it with `PROTOCOL_ERROR`, because the request was
/// malformed (RFC 9113, section 8.1.1): its body ended before its `content-length`.
#[cfg(feature = "hyper")]
pub(super) fn is_of_the_caller(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return error.is_user();
    }
    error.downcast_ref::<h2::Error>().is_some_and(|error| match error.reason() {
        None => !error.is_io(),
        Some(h2::Reason::PROTOCOL_ERROR) if error.is_remote() => error.is_reset(),
        Some(_) => error.is_reset() && !error.is_remote() && !error.is_library(),
    })
}

#[cfg(not(feature = "hyper"))]
pub(super) fn is_of_the_caller(_: &(dyn Error + 'static)) -> bool {
    false
}

const LONGEST_CHAIN: usize = 64;
