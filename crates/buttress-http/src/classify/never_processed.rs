use std::error::Error;

use super::error_chain::chain;
#[cfg(feature = "hyper")]
use super::error_chain::is_connect;

/// Returns whether `error`, or an error in its chain of sources, proves that no server began to
/// process the request. Such a request can always be sent again.
///
/// | event | evidence |
/// |---|---|
/// | no connection: refused, name not found, a failed handshake | hyper-util's `is_connect`, tonic's `ConnectError` |
/// | the request was never handed to a connection | hyper's `is_canceled` |
/// | the server reset the stream with `REFUSED_STREAM` | h2, RFC 9113 section 8.7 |
/// | the server went away before it saw the stream | h2, `GOAWAY` with a lower last stream |
///
/// A refused TLS handshake, as with an untrusted certificate, would be refused again. So its
/// verdict in [`Http`](crate::Http) is permanent all the same.
///
/// Every other request may have been processed: after a connection that ends before a response, any
/// other reset, a timeout. The function needs the feature `hyper`, which `tonic` and `reqwest`
/// imply. Without it the result is `false`.
///
/// The errors of a client that follows redirects itself are about its last hop. A `POST` that was
/// processed, and redirected to an unreachable server, looks as if it had never been sent. Follow
/// redirects above the retry, not below.
#[must_use]
pub fn never_processed(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(proves_never_processed)
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
