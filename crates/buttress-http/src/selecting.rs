use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONNECTION, CONTENT_LENGTH,
        CONTENT_TYPE, COOKIE, EXPECT, FORWARDED, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
        IF_RANGE, IF_UNMODIFIED_SINCE, ORIGIN, PRAGMA, PROXY_AUTHORIZATION, RANGE,
        TRANSFER_ENCODING, UPGRADE,
    },
};

use crate::{cache_control, header_value::members, mode::Options};

/// The headers whose values are part of a key, always in the same order.
pub(crate) fn selecting(options: &Options) -> impl Iterator<Item = &HeaderName> {
    SELECTING.iter().chain(&options.vary)
}

/// Whether the values of the header `name` are part of a key.
pub(crate) fn is_selecting(options: &Options, name: &HeaderName) -> bool {
    selecting(options).any(|known| known == name)
}

/// Whether requests with the same key agree in the header `name`: it is part of the key, or a request
/// that has it has no key.
pub(crate) fn covers(options: &Options, name: &[u8]) -> bool {
    let mut names = selecting(options).chain(&ALONE);
    names.any(|known| known.as_str().as_bytes().eq_ignore_ascii_case(name))
}

/// Whether a request with these headers asks for something that is for it alone, or brings a body.
pub(crate) fn goes_alone(options: &Options, headers: &HeaderMap, names: Names) -> bool {
    names.has_underscore && headers.keys().any(|name| poses(options, name))
        || ALONE.iter().any(|name| names.may_contain(name) && headers.contains_key(name))
        || !members(headers, &CONNECTION).all(is_harmless_in_connection)
        || headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0")
        || headers.get_all(CONTENT_TYPE).iter().any(|kind| starts_with(kind, GRPC))
        || headers.get_all(ACCEPT).iter().any(|kind| starts_with(kind, EVENTS))
        || !cache_control::directives(headers).all(|asks| asks.is(b"max-stale"))
}

/// The names of a request's headers, each reduced to one bit. Most names that are looked for are not
/// there, and to ask the map itself is to hash each of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    bits: u64,
    has_underscore: bool,
}

impl Names {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut names = Self { bits: 0, has_underscore: false };
        for name in headers.keys() {
            names.bits |= bit(name);
            names.has_underscore |= name.as_str().as_bytes().contains(&b'_');
        }
        names
    }

    pub(crate) fn may_contain(self, name: &HeaderName) -> bool {
        self.bits & bit(name) != 0
    }
}

/// Whether a service may take the header for one that counts: those that make variables of headers, as
/// CGI does, write `-` as `_`.
fn poses(options: &Options, name: &HeaderName) -> bool {
    let poses_as = |known: &HeaderName| {
        let (known, name) = (known.as_str().as_bytes(), name.as_str().as_bytes());
        let same = |(a, b): (&u8, &u8)| a == b || (*a == b'-' && *b == b'_');
        known != name && known.len() == name.len() && known.iter().zip(name).all(same)
    };
    selecting(options).chain(&ALONE).any(poses_as)
}

fn bit(name: &HeaderName) -> u64 {
    let name = name.as_str().as_bytes();
    // The names of one length differ in their first letter more often than not.
    let first = usize::from(name.first().copied().unwrap_or_default());
    1 << ((name.len() * 7 + first) % 64)
}

/// Whether the method the service goes by may not be the one that the request has.
pub(crate) fn is_overridden(headers: &HeaderMap) -> bool {
    OVERRIDES.iter().any(|name| headers.contains_key(name))
}

/// `Connection: upgrade` leaves HTTP, and any other name there may make a proxy further on drop the
/// header of that name, which the key has as if it counted.
fn is_harmless_in_connection(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close")
}

/// Whether a media type is this one, or one that is named after it, as gRPC-Web is.
pub(crate) fn starts_with(value: &HeaderValue, kind: &[u8]) -> bool {
    let start = value.as_bytes().get(..kind.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(kind))
}

static SELECTING: [HeaderName; 22] = [
    HOST,
    // Who asks.
    AUTHORIZATION,
    COOKIE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-auth-token"),
    // Who asks, as a proxy in front has found out.
    HeaderName::from_static("remote-user"),
    HeaderName::from_static("x-auth-request-user"),
    HeaderName::from_static("x-forwarded-user"),
    HeaderName::from_static("x-remote-user"),
    // What is wanted.
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    // What services write into their answers, or find them by, without a word in `Vary`: one caller
    // who makes them up would choose everybody's answer.
    ORIGIN,
    FORWARDED,
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
];

/// A request with one of these has no key.
static ALONE: [HeaderName; 14] = [
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    UPGRADE,
    EXPECT,
    PRAGMA,
    TRANSFER_ENCODING,
    HeaderName::from_static("last-event-id"),
    METHOD_OVERRIDE,
    HTTP_METHOD_OVERRIDE,
    HTTP_METHOD,
];

static OVERRIDES: [HeaderName; 3] = [METHOD_OVERRIDE, HTTP_METHOD_OVERRIDE, HTTP_METHOD];

const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-method-override");
const HTTP_METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
const HTTP_METHOD: HeaderName = HeaderName::from_static("x-http-method");
const GRPC: &[u8] = b"application/grpc";

/// A stream of events that does not end, and begins with whoever asks for it.
pub(crate) const EVENTS: &[u8] = b"text/event-stream";
