use std::sync::Arc;

use buttress_core::{FixedKey, KeyLookup, KeyOf};
use http::{HeaderMap, header::HOST};

use super::authority_text::AuthorityText;

/// A key: the host and the port that a request is for, such as `api.example.com:443`.
///
/// ```
/// use std::sync::Arc;
///
/// use buttress_core::KeyOf;
/// use buttress_http::Authority;
/// use http::Request;
///
/// let request = Request::get("HTTPS://user@API.example.com/users").body(())?;
/// assert_eq!(Authority.key(&request), Some(Arc::from("api.example.com:443")));
/// # Ok::<(), http::Error>(())
/// ```
///
/// Give it to a layer by `.per(Authority)`. Then each host has a state of its own: a limit, a
/// circuit, an order. The layer allocates a key when it first sees a host, and nothing afterwards.
///
/// | part of the target | in the key |
/// |---|---|
/// | host name | in lower case, without the dot at its end |
/// | IPv6 literal | in brackets, in its canonical form (RFC 5952) |
/// | port | in decimal digits without leading zeros. 0 is a port like any other |
/// | no port, or an empty port | that of the scheme `http`, `https`, `ws` or `wss`, in upper or lower case. With another scheme, or without a scheme, no port |
/// | userinfo | not part of the key |
///
/// If the target has no authority (the origin form of a server's requests over HTTP/1), the `Host`
/// header stands for the authority. Such a request states no scheme. So its key has a port only if
/// `Host` has a port, and differs from the key of the same target over HTTP/2. For a
/// `reqwest::Request` the URL alone counts.
///
/// A request has no key if
///
/// - its target has no authority and there is no `Host`, or more than one,
/// - the host is empty, ends with two dots, is longer than 255 bytes, or has bytes that RFC 3986 does not permit in a host,
///   such as spaces or letters outside of ASCII,
/// - the port is no number up to 65,535.
///
/// Host names are compared as they are written: `%41` is not decoded, `127.1` is not `127.0.0.1`,
/// and an internationalized name must be in its ASCII form, as `reqwest::Url` makes it.
///
/// A stub of tonic over a `Channel` sends requests without a key, because the channel adds the
/// authority further in. Such a stub has a single upstream. If the layer still needs the host, create
/// the stub with `with_origin`.
///
/// On a server the client chooses the host, and a request without a key bypasses the layer. So a
/// limit per host on a server is no protection against a hostile client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Authority;

impl FixedKey for Authority {
    type Key = Arc<str>;
}

impl<B> KeyOf<http::Request<B>> for Authority {
    type Key = Arc<str>;

    fn key(&self, request: &http::Request<B>) -> Option<Arc<str>> {
        Some(Arc::from(of_request(request)?.as_str()))
    }

    #[inline]
    fn look_up<T: KeyLookup<Arc<str>>>(
        &self,
        request: &http::Request<B>,
        table: T,
    ) -> Option<T::Found> {
        Some(table.find_by(of_request(request)?.as_str(), Arc::from))
    }

    fn weight(&self, key: &Arc<str>) -> usize {
        weight(key)
    }
}

#[cfg(feature = "reqwest")]
impl KeyOf<reqwest::Request> for Authority {
    type Key = Arc<str>;

    fn key(&self, request: &reqwest::Request) -> Option<Arc<str>> {
        Some(Arc::from(of_url(request.url())?.as_str()))
    }

    #[inline]
    fn look_up<T: KeyLookup<Arc<str>>>(
        &self,
        request: &reqwest::Request,
        table: T,
    ) -> Option<T::Found> {
        Some(table.find_by(of_url(request.url())?.as_str(), Arc::from))
    }

    fn weight(&self, key: &Arc<str>) -> usize {
        weight(key)
    }
}

fn of_request<B>(request: &http::Request<B>) -> Option<AuthorityText> {
    of_uri(request.uri(), request.headers())
}

fn of_uri(uri: &http::Uri, headers: &HeaderMap) -> Option<AuthorityText> {
    if let Some(authority) = uri.authority() {
        return AuthorityText::new(uri.scheme_str(), without_userinfo(authority.as_str()));
    }
    let mut hosts = headers.get_all(HOST).iter();
    let (host, None) = (hosts.next()?, hosts.next()) else { return None };
    AuthorityText::new(None, host.to_str().ok()?)
}

#[cfg(feature = "reqwest")]
fn of_url(url: &reqwest::Url) -> Option<AuthorityText> {
    AuthorityText::new(Some(url.scheme()), without_userinfo(url.authority()))
}

fn without_userinfo(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

fn weight(key: &Arc<str>) -> usize {
    // With the two counts in front of the text.
    size_of_val(key) + 2 * size_of::<usize>() + key.len()
}
