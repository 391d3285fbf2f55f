mod header_row;
pub(crate) mod headers;
pub(crate) mod ignored_headers;
mod length_prefixed;
mod target;
mod wanted_freshness;

use std::{cell::Cell, fmt, str, sync::Arc};

use buttress_core::{KeyOf, WantedFreshness};
use http::{HeaderMap, Method, header::HOST};
use http_body::Body;

use self::{
    header_row::write_counted,
    headers::{NameFilter, is_overridden, must_bypass},
    length_prefixed::{LengthPrefixed, write},
    target::Target,
    wanted_freshness::wanted,
};
use crate::{Http, mode::HttpOptions};

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
/// | `Connection`, `Cache-Alive`, `Proxy-Connection`, `TE` | about the connection to the next hop (RFC 9110, section 7.6.1); options of `Connection` other than `close` and `keep-alive` go alone |
/// | `Content-Length` | 0, or the request goes alone |
/// | `Cache-Control`, `Pragma` | read by the layer itself: see [`Http`]'s implementation of [`KeyOf`] |
/// | `Priority` | how soon the response is wanted, not which (RFC 9218) |
/// | `X-Request-ID`, `X-Correlation-ID` | the name of one request, for logs |
/// | `traceparent`, `tracestate`, `b3`, `X-B3-TraceId`, `-SpanId`, `-ParentSpanId`, `-Sampled`, `-Flags`, `uber-trace-id`, `X-Amzn-Trace-Id`, `X-Cloud-Trace-Context`, `x-datadog-trace-id`, `-parent-id`, `-sampling-priority`, `-origin`, `-tags`, `newrelic`, `sentry-trace` | the place of one request in a trace |
/// | [`Http::timeout_header`], [`Http::criticality_header`] | how long the caller waits and how much the call matters: other in each call, and read by the layers themselves |
/// | [`Http::ignore_headers`] | what the program adds |
///
/// Services find the caller in whatever header they like, and build links, redirects or whole pages from
/// others without naming them in `Vary`. So the list is of what cannot matter, and not of what does: a
/// header that is missing on it costs sharing, and one that is missing on a list of credentials would give
/// a user the answer of another.
///
/// | header that is not ignored | because | where it keeps equal requests apart |
/// |---|---|---|
/// | `User-Agent`, `Referer`, `Sec-*`, `Via` | services answer by them | – |
/// | `X-Forwarded-For`, `X-Real-IP`, `Forwarded` | they name the caller | behind a proxy: [`Http::ignore_headers`], if no service answers by them |
/// | `baggage` | the application puts a user or a tenant there | where it holds nothing else than traces: [`Http::ignore_headers`] |
///
/// [`Http::key_headers`] names the only headers that count instead.
///
/// Nothing is normalized, for a service may answer by how its address was written, and one odd answer
/// must not be everybody's. What a request [changes](KeyOf::invalidates) is found however it was written.
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

    fn weight(&self) -> usize {
        size_of_val(self) + self.parts.len()
    }

    fn subject(&self) -> u64 {
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

/// `GET` and `HEAD` have a key. A request goes alone if it
///
/// - has a body, or headers that announce one,
/// - asks for a part, on a condition or for the switch to another protocol: `Range`, `If-Range`,
///   `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`, `Expect`, `Upgrade`, and
///   any `Connection` but `close` and `keep-alive`,
/// - asks for a stream of events: `Accept: text/event-stream`, `Last-Event-ID`,
/// - wants an answer that is made for it, now: `Cache-Control: no-cache` or `no-store`,
/// - may have another method than it says: `X-HTTP-Method`, `X-HTTP-Method-Override`,
///   `X-Method-Override`,
/// - has a header that a service may take for another, with `_` for `-`: for one of those above, for one
///   that [`Http::key_headers`] or [`Http::vary`] names, or for another of the same request,
/// - is gRPC or gRPC-Web.
///
/// What `Cache-Control` says of kept answers ([`lookup`](KeyOf::key_and_freshness)) is as RFC 9111, section 5.2.1,
/// has it:
///
/// | directive | effect |
/// |---|---|
/// | `max-age=N` | no kept answer that is older than `N` seconds, or stale |
/// | `min-fresh=N` | no kept answer that is not fresh for `N` seconds more |
/// | `max-stale`, `max-stale=N` | a kept answer that is stale, by `N` seconds at most, as far as the answer and the layer permit one |
/// | `only-if-cached` | a kept answer that is at hand, or 504; where the layer keeps nothing, the request goes alone |
/// | `no-cache` | goes alone: neither a kept answer nor a flight that began before |
/// | `no-store` | goes alone, and its answer is not kept |
/// | anything else, and what is malformed | none (section 5.2.3) |
///
/// A request with `max-age`, `min-fresh` or `max-stale` joins and starts flights as any other, and its
/// answer is kept. `Pragma: no-cache` counts as `no-cache` where there is no `Cache-Control` (section 5.4).
///
/// A request whose method is not safe changes what its target answers (RFC 9111, section 4.4), over
/// whichever version of HTTP it comes.
impl<B: Body> KeyOf<http::Request<B>> for Http {
    type Key = HttpKey;

    fn key(&self, request: &http::Request<B>) -> Option<HttpKey> {
        self.key_and_freshness(request).map(|(key, _)| key)
    }

    fn key_and_freshness(&self, request: &http::Request<B>) -> Option<(HttpKey, WantedFreshness)> {
        if !request.body().is_end_stream() {
            return None;
        }
        let target = Target::of(request.uri());
        lookup(self.options(), request.method(), target, request.headers())
    }

    fn resource(&self, key: &HttpKey) -> Option<u64> {
        Some(key.subject())
    }

    fn weight(&self, key: &HttpKey) -> usize {
        key.weight()
    }

    fn invalidates(&self, request: &http::Request<B>) -> Option<u64> {
        changes(request.method(), Target::of(request.uri()), request.headers())
    }
}

/// As for [`http::Request`].
#[cfg(feature = "reqwest")]
impl KeyOf<reqwest::Request> for Http {
    type Key = HttpKey;

    fn key(&self, request: &reqwest::Request) -> Option<HttpKey> {
        self.key_and_freshness(request).map(|(key, _)| key)
    }

    fn key_and_freshness(&self, request: &reqwest::Request) -> Option<(HttpKey, WantedFreshness)> {
        let body = request.body();
        if body.is_some_and(|body| body.as_bytes().is_none_or(|bytes| !bytes.is_empty())) {
            return None;
        }
        let target = Target::of_url(request.url());
        lookup(self.options(), request.method(), target, request.headers())
    }

    fn resource(&self, key: &HttpKey) -> Option<u64> {
        Some(key.subject())
    }

    fn weight(&self, key: &HttpKey) -> usize {
        key.weight()
    }

    fn invalidates(&self, request: &reqwest::Request) -> Option<u64> {
        changes(request.method(), Target::of_url(request.url()), request.headers())
    }
}

fn lookup(
    options: &HttpOptions,
    method: &Method,
    target: Target<'_>,
    headers: &HeaderMap,
) -> Option<(HttpKey, WantedFreshness)> {
    let filter = NameFilter::of(headers);
    if !matches!(*method, Method::GET | Method::HEAD) || must_bypass(options, headers, filter) {
        return None;
    }
    let wanted = wanted(headers, filter)?;
    let mut bytes = SPARE.try_with(Cell::take).unwrap_or_default();
    for part in [method.as_str(), target.scheme, target.userinfo, target.host] {
        write(&mut bytes, [part]);
    }
    match target.query {
        Some(query) => write(&mut bytes, [target.path, "?", query]),
        None => write(&mut bytes, [target.path]),
    }
    write_counted(&mut bytes, options, headers);
    let parts = Arc::from(bytes.as_slice());
    bytes.clear();
    if bytes.capacity() <= LARGEST_SPARE {
        // Where the thread is ending, the buffer is freed instead.
        let _ = SPARE.try_with(|spare| spare.set(bytes));
    }
    Some((HttpKey { parts }, wanted))
}

fn changes(method: &Method, target: Target<'_>, headers: &HeaderMap) -> Option<u64> {
    (!method.is_safe() || is_overridden(headers)).then(|| target.subject(headers))
}

const METHOD: usize = 0;
const SCHEME: usize = 1;
const AUTHORITY: usize = 3;
const PATH: usize = 4;
const HEADERS: usize = 5;

thread_local! {
    /// Keys are put together here, so that a key is one allocation of its own length.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a thread keeps, in bytes.
const LARGEST_SPARE: usize = 4096;
