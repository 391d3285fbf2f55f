use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, IF_MATCH,
        IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TRANSFER_ENCODING,
        UPGRADE,
    },
};

use super::ignored_headers::{IGNORED_HEADERS, bit, bits, has};
use crate::{
    message::directives::is_word,
    message::header_value::members,
    options::{Counting, HttpOptions},
};

/// Whether the values of the header `name` are part of a key.
#[inline]
pub(crate) fn counts(options: &HttpOptions, name: &str) -> bool {
    match &options.counting {
        Counting::AllBut { bits, .. } if bits & bit(name.as_bytes()) == 0 => true,
        _ => counts_as_listed(options, name.as_bytes()),
    }
}

/// Does the same for a name in upper or lower case.
fn counts_as_listed(options: &HttpOptions, name: &[u8]) -> bool {
    let is = |known: &HeaderName| known.as_str().as_bytes().eq_ignore_ascii_case(name);
    if is(&HOST) || has(&options.vary, name) {
        return true;
    }
    match &options.counting {
        Counting::Only(names) => has(names, name),
        Counting::AllBut { names, .. } => {
            !(IGNORED_HEADERS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
                || has(names, name)
                || is(&options.criticality_header)
                || options.timeout_header.as_ref().is_some_and(is))
        }
    }
}

/// Whether requests with the same key agree in the header `name`: the header is part of the key, or
/// a request that has it has no key. `*` is no header.
pub(crate) fn covers(options: &HttpOptions, name: &[u8]) -> bool {
    name != b"*" && is_word(name) && (counts_as_listed(options, name) || has(&BYPASS_HEADERS, name))
}

/// Whether a request with these headers asks for a response of its own, or has a body.
pub(crate) fn must_bypass(options: &HttpOptions, headers: &HeaderMap, filter: NameFilter) -> bool {
    filter.has_underscore && aliases_with_underscore(options, headers)
        || filter.must_bypass
        || filter.may_contain(&CONNECTION)
            && !members(headers, &CONNECTION).all(is_harmless_in_connection)
        || filter.may_contain(&CONTENT_LENGTH)
            && headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0")
        || filter.may_contain(&CONTENT_TYPE)
            && headers.get_all(CONTENT_TYPE).iter().any(|kind| starts_with(kind, GRPC))
        || filter.may_contain(&ACCEPT)
            && headers.get_all(ACCEPT).iter().any(|kind| starts_with(kind, EVENTS))
}

/// The names of a request's headers, each reduced to a [`bit`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameFilter {
    bits: u64,
    has_underscore: bool,
    /// A name in the request makes the request bypass the layer.
    must_bypass: bool,
}

impl NameFilter {
    #[inline]
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut filter = Self { bits: 0, has_underscore: false, must_bypass: false };
        for name in headers.keys() {
            let text = name.as_str().as_bytes();
            let bit = bit(text);
            filter.bits |= bit;
            filter.must_bypass |= BYPASS_BITS & bit != 0 && BYPASS_HEADERS.contains(name);
            filter.has_underscore |= has_underscore(text);
        }
        filter
    }

    #[inline]
    pub(crate) fn may_contain(self, name: &HeaderName) -> bool {
        self.bits & bit(name.as_str().as_bytes()) != 0
    }
}

#[expect(clippy::manual_contains, reason = "`contains` costs more, for it is for longer texts")]
#[inline]
fn has_underscore(name: &[u8]) -> bool {
    name.iter().any(|byte| *byte == b'_')
}

/// Whether a service may take a header for another: services that make variables of headers, as CGI
/// does, write `-` as `_`.
///
/// Such a service may take `X_HTTP_Method_Override` for a method, and `X_Tenant` for a header that
/// the program counts. Of `X-API-Key` and `X_API_Key` in a request the service may take either, by
/// an order that is not part of the key.
#[cold]
fn aliases_with_underscore(options: &HttpOptions, headers: &HeaderMap) -> bool {
    headers.keys().filter(|name| name.as_str().contains('_')).any(|name| {
        let looks_like_any = |names: &[HeaderName]| names.iter().any(|known| alike(known, name));
        let as_counted = || match &options.counting {
            Counting::Only(names) => looks_like_any(names),
            Counting::AllBut { .. } => false,
        };
        looks_like_any(&BYPASS_HEADERS)
            || !counts(options, name.as_str()) && (as_counted() || looks_like_any(&options.vary))
            || headers.keys().any(|other| alike(other, name))
    })
}

/// Whether two different names become the same if `-` is written as `_`.
fn alike(one: &HeaderName, other: &HeaderName) -> bool {
    let (one, other) = (one.as_str().as_bytes(), other.as_str().as_bytes());
    let dashed = |byte: u8| if byte == b'_' { b'-' } else { byte };
    let same = |(a, b): (&u8, &u8)| dashed(*a) == dashed(*b);
    one != other && one.len() == other.len() && one.iter().zip(other).all(same)
}

/// Whether the service may go by another method than that of the request.
pub(crate) fn is_overridden(headers: &HeaderMap) -> bool {
    let is_alias = |name: &HeaderName| {
        name.as_str().contains('_') && OVERRIDES.iter().any(|known| alike(known, name))
    };
    OVERRIDES.iter().any(|name| headers.contains_key(name)) || headers.keys().any(is_alias)
}

/// `Connection: upgrade` leaves HTTP. Any other name there may make a proxy further on drop the
/// header of that name, which the key counts.
fn is_harmless_in_connection(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close")
}

/// Whether a media type is `kind`, or is named after it, as gRPC-Web is.
pub(crate) fn starts_with(value: &HeaderValue, kind: &[u8]) -> bool {
    let start = value.as_bytes().get(..kind.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(kind))
}

/// A request with any of these has no key.
static BYPASS_HEADERS: [HeaderName; 13] = [
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    UPGRADE,
    EXPECT,
    TRANSFER_ENCODING,
    HeaderName::from_static("last-event-id"),
    METHOD_OVERRIDE,
    HTTP_METHOD_OVERRIDE,
    HTTP_METHOD,
];

/// The names of `BYPASS_HEADERS`, each reduced to a bit.
const BYPASS_BITS: u64 = bits(&[
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "upgrade",
    "expect",
    "transfer-encoding",
    "last-event-id",
    "x-method-override",
    "x-http-method-override",
    "x-http-method",
]);

static OVERRIDES: [HeaderName; 3] = [METHOD_OVERRIDE, HTTP_METHOD_OVERRIDE, HTTP_METHOD];

const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-method-override");
const HTTP_METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
const HTTP_METHOD: HeaderName = HeaderName::from_static("x-http-method");
const GRPC: &[u8] = b"application/grpc";

/// An endless stream of events, which starts when a client asks for it.
pub(crate) const EVENTS: &[u8] = b"text/event-stream";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bypass_header_has_its_bit() {
        for name in &BYPASS_HEADERS {
            assert_ne!(BYPASS_BITS & bit(name.as_str().as_bytes()), 0, "{name}");
        }
    }
}
