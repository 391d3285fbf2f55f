use std::{fmt, str, sync::Arc};

use buttress_core::StoreKey;
use http::{Method, header::HOST};

use super::{length_prefixed::LengthPrefixed, target};

/// The key of an HTTP request: its method, target and headers, byte by byte.
///
/// | part | value |
/// |---|---|
/// | method | `GET` or `HEAD` |
/// | scheme, user and password, host, port, path, query | unchanged: `HOST` is not `host`, `:80` is not a missing port, `%41` is not `A` |
/// | `Host` | unchanged, also if the target names a host, because a client may send another |
/// | every other header | name and values, unless the header is ignored |
///
/// A header is ignored only if it can identify neither the caller nor the resource. These are
/// ignored:
///
/// | ignored header | reason |
/// |---|---|
/// | `Connection`, `Keep-Alive`, `Proxy-Connection`, `TE` | about the connection to the next hop (RFC 9110, section 7.6.1); with options of `Connection` other than `close` and `keep-alive`, the request has no key |
/// | `Content-Length` | 0, or the request has no key |
/// | `Cache-Control`, `Pragma` | read by the layer itself: see [`Http`](crate::Http)'s implementation of [`KeyOf`](buttress_core::KeyOf) |
/// | `Priority` | when the response is wanted, not which (RFC 9218) |
/// | `X-Request-ID`, `X-Correlation-ID` | the name of a single request, for logs |
/// | `traceparent`, `tracestate`, `b3`, `X-B3-TraceId`, `-SpanId`, `-ParentSpanId`, `-Sampled`, `-Flags`, `uber-trace-id`, `X-Amzn-Trace-Id`, `X-Cloud-Trace-Context`, `x-datadog-trace-id`, `-parent-id`, `-sampling-priority`, `-origin`, `-tags`, `newrelic`, `sentry-trace` | the place of a single request in a trace |
/// | [`Http::timeout_header`](crate::Http::timeout_header), [`Http::criticality_header`](crate::Http::criticality_header) | the time and the importance of a single call, read by the layers themselves |
/// | [`Http::ignore_headers`](crate::Http::ignore_headers) | added by the program |
///
/// Services find the caller in many headers, and build links, redirects or whole pages from others
/// without naming them in `Vary`. So this is a list of headers that cannot matter, and not of
/// headers that do. A header missing on this list costs sharing. A header missing on a list of
/// credentials would give a user the response of another.
///
/// | header that is not ignored | because | where it separates equal requests |
/// |---|---|---|
/// | `User-Agent`, `Referer`, `Sec-*`, `Via` | services respond by them | – |
/// | `X-Forwarded-For`, `X-Real-IP`, `Forwarded` | they name the caller | behind a proxy: [`Http::ignore_headers`](crate::Http::ignore_headers), if no service responds by them |
/// | `baggage` | the application puts a user or a tenant there | if it holds nothing but traces: [`Http::ignore_headers`](crate::Http::ignore_headers) |
///
/// [`Http::key_headers`](crate::Http::key_headers) replaces this by a list of the only headers that
/// count.
///
/// No part is normalized. A service may respond by how its address was written, and an odd
/// response must not go to every caller. The resource that a request
/// [invalidates](buttress_core::KeyOf::invalidates) is found in any spelling.
///
/// All values of a repeated header count, in their order. The order of headers with different names
/// does not matter.
///
/// The target is that which the layer sees. If a router has removed a prefix from the path, as
/// axum does below `nest`, paths that differ in the prefix are the same. Use a layer above the
/// router, or a layer for each router.
///
/// Whatever identifies users outside of headers is **not** in the key, such as a client certificate
/// or an extension that an outer layer has added. Give the layer a key of your own then.
///
/// # In a store that replicas share
///
/// The [bytes](StoreKey::write) of a key are the same in every process and version: their length in
/// LEB128, and then method, scheme, user and password, host, path with query, and the name and value
/// of each header, each as its length in LEB128 and its bytes. Names stand in lower case, the shorter
/// first, and those of one length in the order of the alphabet.
///
/// A key [holds credentials](StoreKey::holds_credentials) if it has a user or a password, or a header
/// other than `Host`, `Origin`, `Accept`, `Accept-Encoding`, `Accept-Language`, `User-Agent`,
/// `Forwarded`, and `X-Forwarded-For`, `-Host`, `-Port`, `-Prefix` and `-Proto`. Any other header can
/// identify a caller. A token in the path or the query is not recognized.
///
/// `Debug` shows method and target, the query included, but neither headers nor a password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HttpKey {
    /// Each part as its length and its bytes, so that different rows of parts have different bytes:
    /// method, scheme, user, host, path and query, and then the name and value of each header.
    // Entries in a store are named by these bytes, so another layout would lose them all.
    parts: Arc<[u8]>,
}

impl HttpKey {
    /// Creates a key of these `parts`, written as `lookup` does.
    pub(super) fn new(parts: &[u8]) -> Self {
        Self { parts: Arc::from(parts) }
    }

    /// Returns the method.
    pub fn method(&self) -> Method {
        Method::from_bytes(self.part(METHOD)).unwrap_or_default()
    }

    /// Returns the target as a URI, as far as known, without user and password. The host is missing
    /// if only the `Host` header of the request names it.
    pub fn target(&self) -> String {
        let [scheme, host, path] = [SCHEME, AUTHORITY, PATH].map(|part| self.text(part));
        match (scheme, host) {
            ("", "") => path.to_owned(),
            ("", host) => format!("//{host}{path}"),
            (scheme, host) => format!("{scheme}://{host}{path}"),
        }
    }

    pub(super) fn weight(&self) -> usize {
        size_of_val(self) + self.parts.len()
    }

    pub(super) fn resource(&self) -> u64 {
        let host = match self.part(AUTHORITY) {
            [] => self.host_header(),
            host => host,
        };
        let mut path = self.part(PATH).splitn(2, |byte| *byte == b'?');
        target::resource(host, path.next().unwrap_or_default(), path.next())
    }

    fn host_header(&self) -> &[u8] {
        let mut parts = LengthPrefixed(&self.parts).skip(HEADERS);
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            if name == HOST.as_str().as_bytes() {
                return value;
            }
        }
        &[]
    }

    fn header_names(&self) -> impl Iterator<Item = &[u8]> {
        LengthPrefixed(&self.parts).skip(HEADERS).step_by(2)
    }

    fn text(&self, index: usize) -> &str {
        str::from_utf8(self.part(index)).unwrap_or_default()
    }

    fn part(&self, index: usize) -> &[u8] {
        LengthPrefixed(&self.parts).nth(index).unwrap_or_default()
    }
}

impl StoreKey for HttpKey {
    fn write(&self, out: &mut Vec<u8>) {
        self.parts.write(out);
    }

    fn holds_credentials(&self) -> bool {
        !self.part(USERINFO).is_empty()
            || self
                .header_names()
                .any(|name| !ANONYMOUS.iter().any(|known| known.as_bytes() == name))
    }
}

impl fmt::Debug for HttpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpKey")
            .field("method", &self.method())
            .field("target", &self.target())
            .finish_non_exhaustive()
    }
}

const METHOD: usize = 0;
const SCHEME: usize = 1;
const USERINFO: usize = 2;
const AUTHORITY: usize = 3;
const PATH: usize = 4;
const HEADERS: usize = 5;

/// Headers of many callers. The other headers that begin with `X-Forwarded-` are not here: proxies
/// put a user, a token or a certificate there.
const ANONYMOUS: [&str; 12] = [
    "host",
    "origin",
    "accept",
    "accept-encoding",
    "accept-language",
    "user-agent",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
];
