use http::{
    Extensions, HeaderMap, StatusCode,
    header::{CONNECTION, CONTENT_RANGE, CONTENT_TYPE, SET_COOKIE, VARY},
};

use crate::{
    expire::cache_control::CacheControl,
    key::headers::{EVENTS, covers, starts_with},
    message::header_value::members,
    options::HttpOptions,
};

/// Whether a response may go to every caller whose request had the same key.
///
/// A response for a single client may not: `Set-Cookie`, `private` and `no-store`. Neither may a
/// part of a response, a response that leaves HTTP, or a response without an end. `Vary` may name
/// headers that are part of a key, because requests with the same key agree in them, and no others.
pub(crate) fn is_shareable(
    options: &HttpOptions,
    status: StatusCode,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> bool {
    !status.is_informational()
        && status != StatusCode::PARTIAL_CONTENT
        && !headers.contains_key(CONTENT_RANGE)
        && !headers.contains_key(SET_COOKIE)
        && !upgrades(headers, extensions)
        && !is_endless(headers)
        && !is_for_one(&CacheControl::of(headers))
        // `covers` is false for `*`, so `Vary: *` forbids sharing (RFC 9111, section 4.1).
        && members(headers, &VARY).all(|name| covers(options, name))
}

fn is_for_one(control: &CacheControl) -> bool {
    // `CacheControl` counts a `private` that names fields as `private` for the whole response.
    control.private || control.no_store
}

/// Whether the response goes on until the client leaves. A later caller would receive old events,
/// and would be cut off in the end.
fn is_endless(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| starts_with(kind, EVENTS) || starts_with(kind, PICTURES))
}

fn upgrades(headers: &HeaderMap, extensions: &Extensions) -> bool {
    members(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        || carries_connection(extensions)
}

/// Whether hyper passes the connection on with the response.
#[cfg(feature = "hyper")]
fn carries_connection(extensions: &Extensions) -> bool {
    extensions.get::<hyper::upgrade::OnUpgrade>().is_some()
}

#[cfg(not(feature = "hyper"))]
fn carries_connection(_: &Extensions) -> bool {
    false
}

/// A stream of pictures, each of which replaces its predecessor.
const PICTURES: &[u8] = b"multipart/x-mixed-replace";

#[cfg(test)]
mod tests {
    use http::{HeaderName, Response, response::Builder};

    use super::*;
    use crate::Http;

    #[test]
    fn response_for_all_clients_is_shareable() {
        for response in [
            of(200),
            of(301),
            of(404),
            of(500),
            of(200).header("cache-control", "public, max-age=60"),
            of(200).header("cache-control", "no-cache"),
            of(200).header("cache-control", "x=\"private, no-store\""),
            of(200).header("connection", "keep-alive"),
            of(200).header("content-type", "text/html"),
            of(200).header("vary", ""),
            of(200).header("vary", "accept-encoding, ORIGIN"),
            of(200).header("vary", "Host").header("vary", "X-Forwarded-Host, Cookie"),
            of(200).header("vary", "Accept").header("vary", "User-Agent"),
            of(200).header("vary", "X-Tenant, Private-Token, Sec-CH-UA"),
            // A request with any of these has no key.
            of(200).header("vary", "Range, X-HTTP-Method-Override"),
        ] {
            assert!(shared(&Http::new(), response));
        }
    }

    #[test]
    fn response_for_one_client_is_not_shareable() {
        for response in [
            of(100),
            of(101),
            of(103),
            of(206),
            of(200).header("content-range", "bytes 0-1/2"),
            of(200).header("set-cookie", "a=b"),
            of(200).header("cache-control", "Private"),
            of(200).header("cache-control", "private=\"x\""),
            of(200).header("cache-control", "max-age=60").header("cache-control", "NO-STORE"),
            of(200).header("cache-control", "max-age=60; private"),
            of(200).header("cache-control", "x=\", no-store"),
            of(200).header("connection", "close, Upgrade"),
            of(200).header("content-type", "text/event-stream"),
            of(200).header("content-type", "Text/Event-Stream; charset=utf-8"),
            of(200).header("content-type", "multipart/x-mixed-replace;boundary=a"),
            of(200).header("vary", "*"),
            of(200).header("vary", "Accept, *"),
            // Requests with the same key may differ in it.
            of(200).header("vary", "Accept, TraceParent"),
            of(200).header("vary", "X-Request-Id"),
            of(200).header("vary", "Cache-Control"),
            of(200).header("vary", "x-criticality"),
            of(200).header("vary", "accept user-agent"),
            of(200).header("vary", "\"accept\""),
        ] {
            let shown = format!("{response:?}");
            assert!(!shared(&Http::new(), response), "{shown}");
        }
    }

    #[test]
    fn vary_on_an_ignored_header_forbids_sharing() {
        let names = |name| [HeaderName::from_static(name)];
        let varies = |http: &Http, name| shared(http, of(200).header("vary", name));
        assert!(!varies(&Http::new().ignore_headers(names("x-color")), "X-Color"));
        assert!(!varies(&Http::new().timeout_header(names("x-left")[0].clone()), "X-Left"));
        assert!(!varies(&Http::new().key_headers(names("accept")), "X-Tenant"));
        assert!(varies(&Http::new().key_headers(names("accept")), "Accept, Host"));
        assert!(varies(&Http::new().vary(names("traceparent")), "Traceparent"));
    }

    #[test]
    #[cfg(feature = "hyper")]
    fn response_that_carries_its_connection_is_not_shareable() {
        let upgrade = hyper::upgrade::on(Response::new(()));
        assert!(!shared(&Http::new(), of(200).extension(upgrade)));
    }

    fn of(status: u16) -> Builder {
        Response::builder().status(status)
    }

    fn shared(http: &Http, response: Builder) -> bool {
        let response = response.body(()).unwrap();
        is_shareable(http.options(), response.status(), response.headers(), response.extensions())
    }
}
