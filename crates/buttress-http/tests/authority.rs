//! The key of a host and port: spellings that are one host, and targets that have no key.
#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{fmt::Write, sync::Arc};

use buttress_core::{KeyLookup, KeyOf};
use buttress_http::{Authority, Http, HttpKey};
use http::{HeaderValue, Request, header::HOST};
use proptest::prelude::*;

fn key_of(request: &Request<()>) -> String {
    let key = Authority.key(request);
    assert_eq!(key, Authority.look_up(request, Interned), "a lookup finds the same key");
    text_of(key)
}

fn text_of(key: Option<Arc<str>>) -> String {
    key.map_or_else(|| NONE.to_owned(), |key| key.to_string())
}

const NONE: &str = "no key";

/// A table that always makes an owned key of a borrowed one.
struct Interned;

impl KeyLookup<Arc<str>> for Interned {
    type Found = Arc<str>;

    fn find(self, key: Arc<str>) -> Arc<str> {
        key
    }

    fn find_by<'a, Q>(self, key: &'a Q, own: impl FnOnce(&'a Q) -> Arc<str>) -> Arc<str>
    where
        Arc<str>: std::borrow::Borrow<Q>,
        Q: std::hash::Hash + Eq + ?Sized,
    {
        own(key)
    }
}

/// The key of a request with this URI, and with a `Host` that does not count.
fn uri(uri: &str) -> String {
    key_of(&Request::get(uri).header(HOST, "other").body(()).unwrap())
}

/// The key of a request in origin form with these `Host` headers.
fn hosts(hosts: &[&[u8]]) -> String {
    let mut request = Request::get("/users").body(()).unwrap();
    for host in hosts {
        request.headers_mut().append(HOST, HeaderValue::from_bytes(host).unwrap());
    }
    key_of(&request)
}

fn host(host: &str) -> String {
    hosts(&[host.as_bytes()])
}

#[test]
fn uri_gives_the_host_in_lower_case_and_the_port() {
    assert_eq!(uri("http://API.Example.com:8080/users?a=b"), "api.example.com:8080");
    assert_eq!(uri("http://127.0.0.1:9/"), "127.0.0.1:9");
}

#[test]
fn scheme_gives_the_port_that_is_not_stated() {
    for (scheme, port) in [("http", "80"), ("https", "443"), ("ws", "80"), ("wss", "443")] {
        let expected = format!("db-1:{port}");
        assert_eq!(uri(&format!("{scheme}://db-1/")), expected);
        assert_eq!(uri(&format!("{}://db-1/", scheme.to_uppercase())), expected);
        assert_eq!(uri(&format!("{scheme}://db-1:{port}/")), expected);
    }
}

#[test]
fn unknown_scheme_gives_no_port() {
    assert_eq!(uri("grpc+unix://db-1/"), "db-1");
    assert_eq!(uri("grpc+unix://db-1:7/"), "db-1:7");
}

#[test]
fn authority_form_of_connect_is_the_key() {
    let request = Request::connect("Example.com:443").body(()).unwrap();
    assert_eq!(key_of(&request), "example.com:443");
}

#[test]
fn userinfo_is_not_part_of_the_key() {
    assert_eq!(uri("https://user:pass@db-1/"), "db-1:443");
    assert_eq!(uri("https://user%40a:b@db-1:8/"), "db-1:8");
}

#[test]
fn host_header_stands_for_a_target_in_origin_form() {
    assert_eq!(host("API.example.com"), "api.example.com");
    assert_eq!(host("API.example.com:8080"), "api.example.com:8080");
    assert_eq!(hosts(&[]), NONE);
}

#[test]
fn host_header_does_not_count_beside_an_authority() {
    let mut request = Request::get("http://db-1/").body(()).unwrap();
    for host in ["db-2", "db-3"] {
        request.headers_mut().append(HOST, HeaderValue::from_static(host));
    }
    assert_eq!(key_of(&request), "db-1:80");
}

#[test]
fn several_host_headers_give_no_key() {
    assert_eq!(hosts(&[b"db-1", b"db-2"]), NONE);
    assert_eq!(hosts(&[b"db-1", b"db-1"]), NONE);
    assert_eq!(host("db-1, db-2"), NONE);
}

#[test]
fn ipv6_literal_is_canonical_in_its_brackets() {
    for spelling in ["[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]"] {
        assert_eq!(uri(&format!("http://{spelling}:8080/")), "[::1]:8080", "{spelling}");
        assert_eq!(uri(&format!("http://{spelling}/")), "[::1]:80", "{spelling}");
        assert_eq!(host(spelling), "[::1]", "{spelling}");
    }
    assert_eq!(host("[2001:DB8::A]:1"), "[2001:db8::a]:1");
    assert_eq!(host("[FE80::1%25eth0]:1"), "[fe80::1%25eth0]:1");
    assert_eq!(host("[v1.A:b]"), "[v1.a:b]");
}

#[test]
fn malformed_literal_gives_no_key() {
    for authority in
        ["[", "[]", "[::1", "::1", "[::1]8080", "[::1].", "[[::1]]", "[a b]", "]", "[/]"]
    {
        assert_eq!(host(authority), NONE, "{authority}");
    }
}

#[test]
fn dot_at_the_end_of_a_host_is_dropped() {
    assert_eq!(uri("http://example.com.:8080/"), "example.com:8080");
    assert_eq!(host("example.com."), "example.com");
    assert_eq!(host("example.com.."), NONE);
    assert_eq!(host("."), NONE);
}

#[test]
fn empty_host_gives_no_key() {
    for authority in ["", ":80", ":", ".:80"] {
        assert_eq!(host(authority), NONE, "{authority}");
    }
    assert_eq!(uri("http://user@:80/"), NONE);
}

#[test]
fn host_with_bytes_that_no_host_has_gives_no_key() {
    for authority in ["a b", " a", "a/b", "a\\b", "a?b", "a#b", "a@b", "a\"b", "<a>", "a\tb", "a^b"]
    {
        assert_eq!(host(authority), NONE, "{authority}");
    }
    assert_eq!(hosts(&["bücher.example".as_bytes()]), NONE);
    assert_eq!(hosts(&[b"a\xff"]), NONE);
    assert_eq!(host("xn--BCHER-kva.example"), "xn--bcher-kva.example");
}

#[test]
fn host_is_compared_as_it_is_written() {
    assert_eq!(host("%41.example"), "%41.example");
    assert_eq!(host("127.1"), "127.1");
    assert_eq!(host("a_b~!$&'()*+;="), "a_b~!$&'()*+;=");
}

#[test]
fn port_is_a_number_without_leading_zeros() {
    for (port, expected) in [("0", "a:0"), ("000", "a:0"), ("0080", "a:80"), ("65535", "a:65535")] {
        assert_eq!(host(&format!("a:{port}")), expected, "{port}");
    }
    assert_eq!(host(&format!("a:{}7", "0".repeat(1000))), "a:7");
    assert_eq!(uri("http://a:0/"), "a:0");
}

#[test]
fn port_out_of_range_gives_no_key() {
    for port in ["65536", "99999999999999999999", "+80", "-1", "8o", "80 ", "8:0", "٣"] {
        assert_eq!(hosts(&[format!("a:{port}").as_bytes()]), NONE, "{port}");
    }
}

#[test]
fn empty_port_counts_as_no_port() {
    assert_eq!(host("a:"), "a");
    assert_eq!(host("[::1]:"), "[::1]");
}

#[test]
fn host_of_more_than_255_bytes_gives_no_key() {
    for literal in [false, true] {
        let name = |len: usize| {
            if literal { format!("[v1.{}]", "a".repeat(len - 3)) } else { "a".repeat(len) }
        };
        let longest = format!("{}:65535", name(255));
        assert_eq!(host(&longest), longest);
        assert_eq!(host(&format!("{}:65535", name(256))), NONE);
    }
    assert_eq!(host(&format!("{}.:1", "a".repeat(255))), format!("{}:1", "a".repeat(255)));
}

#[test]
fn http_has_a_fixed_key() {
    fn fixed<F: buttress_core::FixedKey<Key = HttpKey>>(_: &F) {}
    fixed(&Http::new());
}

#[test]
fn weight_of_a_key_counts_its_text() {
    let request = Request::get("http://db-1/").body(()).unwrap();
    let weight = |key: &str| KeyOf::<Request<()>>::weight(&Authority, &Arc::from(key));
    assert!(Authority.key(&request).is_some_and(|key| weight(&key) > key.len()));
    assert_eq!(weight("12345678") - weight("1234"), 4);
}

proptest! {
    /// Whatever a peer sends as `Host`, the key is a bounded text of ASCII in lower case, and the key of
    /// a key is the key.
    #[test]
    fn any_host_header_gives_no_key_or_a_canonical_one(
        text in prop_oneof![
            "[ -~]{0,20}",
            "[a-cA-C.:\\[\\]%@0-9]{0,12}",
            "\\[[0-9a-f:]{0,20}\\](:[0-9]{0,6})?",
            "[a-z.]{250,260}(:[0-9]{0,6})?",
        ],
    ) {
        prop_assume!(HeaderValue::from_str(&text).is_ok());
        let key = host(&text);
        if key != NONE {
            prop_assert!(key.is_ascii() && key.len() <= 255 + 8 && !key.is_empty());
            prop_assert!(!key.bytes().any(|byte| byte.is_ascii_uppercase()));
            prop_assert_eq!(host(&key), key);
        }
    }

    /// Any spelling of an address is one key.
    #[test]
    fn ipv6_address_has_one_key(address: std::net::Ipv6Addr, upper: bool) {
        let mut long = String::new();
        for segment in address.segments() {
            let colon = if long.is_empty() { "" } else { ":" };
            write!(long, "{colon}{segment:04x}").unwrap();
        }
        let spelled = if upper { long.to_uppercase() } else { long };
        prop_assert_eq!(host(&format!("[{spelled}]:1")), format!("[{address}]:1"));
    }
}

#[cfg(feature = "reqwest")]
mod reqwest_url {
    use super::*;

    fn url(url: &str) -> String {
        let mut request = reqwest::Request::new(reqwest::Method::GET, url.parse().unwrap());
        request.headers_mut().insert(HOST, HeaderValue::from_static("other"));
        let key = Authority.key(&request);
        assert_eq!(key, Authority.look_up(&request, Interned));
        text_of(key)
    }

    #[test]
    fn url_of_reqwest_has_the_same_key_as_a_uri() {
        for text in
            ["http://API.Example.com/", "HTTPS://u:p@db-1:8443/x", "http://[0::1]:80/", "ws://a:0/"]
        {
            assert_eq!(url(text), uri(text), "{text}");
        }
        assert_eq!(url("https://bücher.example/"), "xn--bcher-kva.example:443");
        assert_eq!(url("https://example.com.:443/"), "example.com:443");
    }

    #[test]
    fn url_without_a_host_has_no_key() {
        for text in ["data:text/plain,x", "mailto:a@b.example", "file:///etc"] {
            assert_eq!(url(text), NONE, "{text}");
        }
    }
}
