use std::{error::Error, io};

use super::error_chain::{chain, is_connect, of_io};

/// Whether a TLS handshake was refused by either side: an untrusted or expired certificate, another name,
/// no protocol in common, or a server that does not speak TLS at all. The next attempt would end alike.
///
/// A connection that broke during the handshake is none of it: that is an [`io::Error`] of the kinds that
/// a reset, an end or a timeout have.
///
/// | library | how it is told |
/// |---|---|
/// | rustls, behind hyper-rustls, reqwest and tonic | `InvalidData` (tokio-rustls) around an error that is not named here |
/// | native-tls, and openssl below it | by its text: neither has an error code that can be read without it |
///
/// With TLS 1.3 a server refuses its client's certificate after the handshake: there the alert is told
/// from data that came in broken by its name.
///
/// The error of a resolver is not looked into, because it may say the name of the host, and that may be
/// one of the words.
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

/// Whether hyper-util's connector stands around the error of its resolver.
fn is_of_resolver(error: &dyn Error) -> bool {
    error.to_string() == RESOLVING
}

fn names(error: &dyn Error, words: &[&str]) -> bool {
    let text = error.to_string().to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

const RESOLVING: &str = "dns error";

/// What a certificate can be called in the text of an error, or of a TLS alert (RFC 8446, section 6.2).
const CERTIFICATES: [&str; 2] = ["certificate", "unknownca"];

/// The same, what openssl's handshake says of all its failures, and tonic's word for a server that
/// speaks TLS and no HTTP/2.
const REFUSALS: [&str; 3] = ["certificate", "ssl routines", "http/2 was not negotiated"];

/// openssl's word for a connection that was closed during the handshake, beside `ssl routines`.
const END: &str = "unexpected eof";
