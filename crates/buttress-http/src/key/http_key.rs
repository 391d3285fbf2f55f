use std::{fmt, str, sync::Arc};

use http::{Method, header::HOST};

use super::{length_prefixed::LengthPrefixed, target};

/// What makes two HTTP requests the same: method, target and the headers, byte by byte.
///
/// | part | as it counts |
/// |---|---|
/// | method | `GET` or `HEAD` |
/// | scheme, user and password, host, port, path, query | as they stand: `HOST` is not `host`, `:80` is not none, `%41` is not `A` |
/// | `Host` | as it stands, also where the target names a host: a client may send another |
/// | every other header | name and values, unless it is ignored |
///
/// A header is ignored only if it can say neither who asks nor what is asked. Each is on this list:
///
/// | ignored header | reason |
/// |---|---|
/// | `Connection`, `Keep-Alive`, `Proxy-Connection`, `TE` | about the connection to the next hop (RFC 9110, section 7.6.1); options of `Connection` other than `close` and `keep-alive` go alone |
/// | `Content-Length` | 0, or the request goes alone |
/// | `Cache-Control`, `Pragma` | read by the layer itself: see [`Http`](crate::Http)'s implementation of [`KeyOf`](buttress_core::KeyOf) |
/// | `Priority` | how soon the response is wanted, not which (RFC 9218) |
/// | `X-Request-ID`, `X-Correlation-ID` | the name of one request, for logs |
/// | `traceparent`, `tracestate`, `b3`, `X-B3-TraceId`, `-SpanId`, `-ParentSpanId`, `-Sampled`, `-Flags`, `uber-trace-id`, `X-Amzn-Trace-Id`, `X-Cloud-Trace-Context`, `x-datadog-trace-id`, `-parent-id`, `-sampling-priority`, `-origin`, `-tags`, `newrelic`, `sentry-trace` | the place of one request in a trace |
/// | [`Http::timeout_header`](crate::Http::timeout_header), [`Http::criticality_header`](crate::Http::criticality_header) | how long the caller waits and how much the call matters: other in each call, and read by the layers themselves |
/// | [`Http::ignore_headers`](crate::Http::ignore_headers) | what the program adds |
///
/// Services find the caller in whatever header they like, and build links, redirects or whole pages from
/// others without naming them in `Vary`. So the list is of what cannot matter, and not of what does: a
/// header that is missing on it costs sharing, and one that is missing on a list of credentials would give
/// a user the answer of another.
///
/// | header that is not ignored | because | where it keeps equal requests apart |
/// |---|---|---|
/// | `User-Agent`, `Referer`, `Sec-*`, `Via` | services answer by them | – |
/// | `X-Forwarded-For`, `X-Real-IP`, `Forwarded` | they name the caller | behind a proxy: [`Http::ignore_headers`](crate::Http::ignore_headers), if no service answers by them |
/// | `baggage` | the application puts a user or a tenant there | where it holds nothing else than traces: [`Http::ignore_headers`](crate::Http::ignore_headers) |
///
/// [`Http::key_headers`](crate::Http::key_headers) names the only headers that count instead.
///
/// Nothing is normalized, for a service may answer by how its address was written, and one odd answer
/// must not be everybody's. What a request [changes](buttress_core::KeyOf::invalidates) is found however it was written.
///
/// Of a header that stands there several times all values count, in their order. In which order
/// headers of different names stand does not matter.
///
/// The target is what the layer sees: where a router has taken a prefix off the path, as axum does below
/// `nest`, what differs in the prefix is the same. A layer above the prefix, or one for each router,
/// tells it apart.
///
/// What tells users apart and is no header, such as the certificate of a client or an extension that
/// a layer above has put into the request, is **not** in it. Give the layer a key of your own there.
///
/// Its `Debug` shows method and target, the query included, and neither headers nor a password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HttpKey {
    /// Each part as its length and its bytes, so that no two rows of parts are written alike: method,
    /// scheme, user, host, path and query, and then name and value of one header after the other.
    parts: Arc<[u8]>,
}

impl HttpKey {
    /// A key of these `parts`, written as `lookup` does.
    pub(super) fn new(parts: &[u8]) -> Self {
        Self { parts: Arc::from(parts) }
    }

    /// The method.
    pub fn method(&self) -> Method {
        Method::from_bytes(self.part(METHOD)).unwrap_or_default()
    }

    /// The target: a URI as far as it is known, without user and password, and without the host where
    /// that stands in the `Host` of the request only.
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

    pub(super) fn subject(&self) -> u64 {
        let host = match self.part(AUTHORITY) {
            [] => self.host_header(),
            host => host,
        };
        let mut path = self.part(PATH).splitn(2, |byte| *byte == b'?');
        target::subject(host, path.next().unwrap_or_default(), path.next())
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

    fn text(&self, index: usize) -> &str {
        str::from_utf8(self.part(index)).unwrap_or_default()
    }

    fn part(&self, index: usize) -> &[u8] {
        LengthPrefixed(&self.parts).nth(index).unwrap_or_default()
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
const AUTHORITY: usize = 3;
const PATH: usize = 4;
const HEADERS: usize = 5;
