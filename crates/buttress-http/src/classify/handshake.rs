use std::{error::Error, io};

use super::error_chain::{chain, is_connect, of_io};

/// Whether either side refused a TLS handshake, so that the next attempt would end the same: an
/// untrusted or expired certificate, another name, no common protocol, or a server that does not
/// speak TLS.
///
/// A connection that broke during the handshake does not count. Its [`io::Error`] has the kind of a
/// reset, an end or a timeout.
///
/// | library | evidence |
/// |---|---|
/// | rustls, behind hyper-rustls, reqwest and tonic | `InvalidData` (tokio-rustls) around an error that is not named here |
/// | native-tls, and openssl below it | the text, because neither has an error code that can be read without it |
///
/// With TLS 1.3 a server refuses its client's certificate after the handshake. The name of the
/// alert then distinguishes it from broken data.
///
/// The error of a resolver is not looked into, because the host name in it may contain one of these
/// words.
pub(crate) fn is_refused(error: &(dyn Error + 'static)) -> bool {
    let mut connecting = false;
    for error in chain(error) {
        connecting |= is_connect(error);
        if connecting && is_of_resolver(error) {
            return false;
        }
        let is_refused = match of_io(error) {
            Some(error) if error.kind() != io::ErrorKind::InvalidData => false,
            Some(error) => connecting || names(error, &CERTIFICATES),
            None => connecting && names(error, &REFUSALS) && !names(error, &[END]),
        };
        if is_refused {
            return true;
        }
    }
    false
}

/// Whether this is hyper-util's wrapper of a resolver error.
fn is_of_resolver(error: &dyn Error) -> bool {
    error.to_string() == RESOLVING
}

fn names(error: &dyn Error, words: &[&str]) -> bool {
    let text = error.to_string().to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

const RESOLVING: &str = "dns error";

/// The names of a certificate in an error text, or in a TLS alert (RFC 8446, section 6.2).
const CERTIFICATES: [&str; 2] = ["certificate", "unknownca"];

/// The same, openssl's text for all failed handshakes, and tonic's text for a server that speaks
/// TLS but not HTTP/2.
const REFUSALS: [&str; 3] = ["certificate", "ssl routines", "http/2 was not negotiated"];

/// openssl's text for a connection that was closed during the handshake, beside `ssl routines`.
const END: &str = "unexpected eof";
