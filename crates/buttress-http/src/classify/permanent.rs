use std::{error::Error, io};

use super::error_chain::chain;
#[cfg(feature = "hyper")]
use super::error_chain::is_of_the_caller;

/// Whether a request that failed with `error` would fail again: the request itself, or the client's
/// configuration, is at fault. [`is_refused`](super::handshake::is_refused) is asked separately.
pub(super) fn is_permanent(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| {
        error.downcast_ref().is_some_and(io_is_permanent)
            || hyper_is_permanent(error)
            || reqwest_is_permanent(error)
            || tonic_is_permanent(error)
    })
}

/// Whether a response of the server is behind a permanent `error`. Any other was made on this side:
/// a request that could not be built, a body that its caller broke off, an untrusted certificate.
pub(super) fn is_answer(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| {
        is_unreadable_answer(error) || is_answer_of_reqwest(error) || tonic_is_permanent(error)
    })
}

fn io_is_permanent(error: &io::Error) -> bool {
    // The kind of an error that wraps another says only how it was wrapped.
    error.get_ref().is_none()
        && matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

#[cfg(feature = "hyper")]
fn hyper_is_permanent(error: &(dyn Error + 'static)) -> bool {
    is_of_the_caller(error) || is_unreadable_answer(error)
}

#[cfg(feature = "hyper")]
fn is_unreadable_answer(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref().is_some_and(hyper::Error::is_parse)
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

/// Whether reqwest turned a response into an error.
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

/// tonic turns failures of the transport into a status with a code of its own making. The code
/// counts only without a source.
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
