mod authority;
mod authority_text;
mod header_row;
pub(crate) mod headers;
mod http_key;
pub(crate) mod ignored_headers;
pub(crate) mod length_prefixed;
mod stable_hash;
mod target;
mod wanted_freshness;

use std::cell::Cell;

use buttress_core::{FixedKey, KeyOf, WantedFreshness};
use http::{HeaderMap, Method};
use http_body::Body;

use self::{
    header_row::write_counted,
    headers::{NameFilter, is_overridden, must_bypass},
    length_prefixed::write,
    target::Target,
    wanted_freshness::wanted,
};
use crate::{Http, options::HttpOptions};

pub use self::authority::Authority;
pub use self::http_key::HttpKey;

/// `GET` and `HEAD` requests have a key. A request has none, and bypasses the layer, if it
///
/// - has a body, or headers that announce one,
/// - asks for a part, on a condition or for another protocol: `Range`, `If-Range`, `If-Match`,
///   `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`, `Expect`, `Upgrade`, and any
///   `Connection` except `close` and `keep-alive`,
/// - asks for a stream of events: `Accept: text/event-stream`, `Last-Event-ID`,
/// - wants a response that is made now: `Cache-Control: no-cache` or `no-store`,
/// - may have another method than it says: `X-HTTP-Method`, `X-HTTP-Method-Override`,
///   `X-Method-Override`,
/// - has a header that a service may take for another, with `_` for `-`: for a header above, for
///   one that [`Http::key_headers`] or [`Http::vary`] names, or for another of the same request,
/// - is gRPC or gRPC-Web.
///
/// The `Cache-Control` of a request limits the cached responses that it
/// [accepts](KeyOf::key_and_freshness), as RFC 9111, section 5.2.1, says:
///
/// | directive | effect |
/// |---|---|
/// | `max-age=N` | no cached response older than `N` seconds, and none that is stale |
/// | `min-fresh=N` | only a cached response that stays fresh for `N` more seconds |
/// | `max-stale`, `max-stale=N` | a stale response too, by at most `N` seconds, as far as the response and the layer permit one |
/// | `only-if-cached` | a cached response at hand, or 504; without a cache, the request bypasses the layer |
/// | `no-cache` | bypasses the layer: neither a cached response nor an earlier flight |
/// | `no-store` | bypasses the layer, and the response is not cached |
/// | any other or malformed directive | none (section 5.2.3) |
///
/// A request with `max-age`, `min-fresh` or `max-stale` joins and starts flights like any other,
/// and its response is cached. `Pragma: no-cache` counts as `no-cache` if there is no
/// `Cache-Control` (section 5.4).
///
/// A request with an unsafe method invalidates the resource of its target (RFC 9111, section 4.4),
/// over every version of HTTP.
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
        Some(key.resource())
    }

    fn weight(&self, key: &HttpKey) -> usize {
        key.weight()
    }

    fn invalidates(&self, request: &http::Request<B>) -> Option<u64> {
        invalidated_resource(request.method(), Target::of(request.uri()), request.headers())
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
        Some(key.resource())
    }

    fn weight(&self, key: &HttpKey) -> usize {
        key.weight()
    }

    fn invalidates(&self, request: &reqwest::Request) -> Option<u64> {
        invalidated_resource(request.method(), Target::of_url(request.url()), request.headers())
    }
}

impl FixedKey for Http {
    type Key = HttpKey;
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
    let key = HttpKey::new(&bytes);
    bytes.clear();
    if bytes.capacity() <= LARGEST_SPARE {
        // If the thread is ending, the buffer is freed instead.
        let _ = SPARE.try_with(|spare| spare.set(bytes));
    }
    Some((key, wanted))
}

fn invalidated_resource(method: &Method, target: Target<'_>, headers: &HeaderMap) -> Option<u64> {
    (!method.is_safe() || is_overridden(headers)).then(|| target.resource(headers))
}

thread_local! {
    /// Keys are assembled in this buffer, so that a key is a single allocation of its exact length.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The largest buffer that a thread keeps, in bytes.
const LARGEST_SPARE: usize = 4096;
