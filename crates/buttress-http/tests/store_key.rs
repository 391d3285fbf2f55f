//! The keys of requests in a store that replicas share.
#![expect(clippy::unwrap_used, reason = "the helpers of a test panic as the test would")]

use buttress_core::{KeyOf, StoreKey};
use buttress_http::{Authority, Http, HttpKey};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, request::Builder};
use http_body_util::Empty;
use proptest::{collection::vec, prelude::*, sample::select};

#[test]
fn key_is_written_as_documented() {
    // The same in every process and version.
    let request = Request::get("https://user:password@Host:443/a%20b?c#d")
        .header("x-tenant", "7")
        .header("accept", "text/html")
        .header("x-tenant", &[0xff][..])
        .header("origin", "")
        .header("traceparent", "1")
        .header("host", "host");
    let expected: [&[u8]; 11] = [
        &[100],
        b"\x03GET",
        b"\x05https",
        b"\x0euser:password@",
        b"\x08Host:443",
        b"\x08/a%20b?c",
        b"\x04host\x04host",
        b"\x06accept\x09text/html",
        b"\x06origin\0",
        b"\x08x-tenant\x017",
        b"\x08x-tenant\x01\xff",
    ];
    assert_eq!(bytes(&key(request).unwrap()), expected.concat());
    assert_eq!(bytes(&key(Request::head("/")).unwrap()), *b"\x0a\x04HEAD\0\0\0\x01/");
}

#[test]
fn long_key_has_a_length_in_several_bytes() {
    let path = format!("/{}", "x".repeat(299));
    let key = bytes(&key(Request::get(&path)).unwrap());
    let expected = [b"\xb5\x02\x03GET\0\0\0\xac\x02", path.as_bytes()].concat();
    assert_eq!(key, expected);
}

#[test]
fn key_of_a_host_is_written_in_its_canonical_form() {
    let request = Request::get("HTTPS://user@API.example.com./users").body(()).unwrap();
    let mut out = Vec::new();
    let key = Authority.key(&request).unwrap();
    key.write(&mut out);
    assert_eq!(out, *b"\x13api.example.com:443");
    assert!(!key.holds_credentials());
}

#[test]
fn header_that_any_caller_sends_is_no_credential() {
    let mut request = Request::get("http://host/?token=1");
    for name in [
        "Host",
        "Origin",
        "Accept",
        "Accept-Encoding",
        "Accept-Language",
        "User-Agent",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Proto",
        // Not in the key.
        "Traceparent",
        "X-Request-Id",
        "X-Criticality",
    ] {
        request = request.header(name, "1");
    }
    assert!(!key(request).unwrap().holds_credentials());
}

#[test]
fn any_other_header_can_identify_a_caller() {
    for name in [
        "Authorization",
        "Cookie",
        "Proxy-Authorization",
        "X-API-Key",
        "X-Tenant",
        "X-Real-IP",
        "X-Forwarded-User",
        "X-Forwarded-Email",
        "X-Forwarded-Access-Token",
        "X-Forwarded-Client-Cert",
        "Baggage",
        "Referer",
        "Sec-Fetch-Site",
        "Accept-Charset",
        "X",
    ] {
        let request = Request::get("/").header("accept", "*/*").header(name, "");
        assert!(key(request).unwrap().holds_credentials(), "{name}");
    }
}

#[test]
fn user_or_password_in_the_target_is_a_credential() {
    for target in ["http://user@host/", "http://user:password@host/", "http://:p@host/"] {
        assert!(key(Request::get(target)).unwrap().holds_credentials(), "{target}");
    }
    for target in ["http://host/", "http://host/user@host", "http://host/?user:password@host"] {
        assert!(!key(Request::get(target)).unwrap().holds_credentials(), "{target}");
    }
}

#[test]
fn header_that_the_program_ignores_is_no_credential() {
    let names = || [HeaderName::from_static("x-tenant")];
    let request = || Request::get("/").header("x-tenant", "1");
    let of = |http: Http| key_by(&http, request()).unwrap().holds_credentials();
    assert!(of(Http::new()));
    assert!(!of(Http::new().ignore_headers(names())));
    assert!(of(Http::new().key_headers(names())));
    assert!(!of(Http::new().key_headers([])));
}

#[test]
#[cfg(feature = "reqwest")]
fn key_of_reqwest_is_written_as_that_of_http() {
    let url = reqwest::Url::parse("http://user@host/a?b").unwrap();
    let mut request = reqwest::Request::new(Method::GET, url);
    request.headers_mut().insert("x-tenant", HeaderValue::from_static("1"));
    let of_reqwest: HttpKey = Http::new().key(&request).unwrap();
    let of_http = key(Request::get("http://user@host/a?b").header("x-tenant", "1")).unwrap();
    assert_eq!(bytes(&of_reqwest), bytes(&of_http));
    assert!(of_reqwest.holds_credentials());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_two_keys_write_the_same_bytes(one in requests(), other in requests()) {
        let [one, other] = [one, other].map(|request| request.key(false));
        let (ours, theirs) = (bytes(&one), bytes(&other));
        if one == other {
            prop_assert_eq!(ours, theirs);
        } else {
            prop_assert!(!ours.starts_with(&theirs) && !theirs.starts_with(&ours));
        }
    }

    #[test]
    fn order_of_headers_changes_no_byte(request in requests()) {
        prop_assert_eq!(bytes(&request.key(false)), bytes(&request.key(true)));
    }

    #[test]
    fn pair_of_keys_is_told_apart_too(one in [requests(), requests()], other in [requests(), requests()]) {
        let pair = |[a, b]: [Parts; 2]| (a.key(false), b.key(false));
        let (one, other) = (pair(one), pair(other));
        let write = |pair: &(HttpKey, HttpKey)| {
            let mut out = Vec::new();
            pair.write(&mut out);
            out
        };
        prop_assert_eq!(one == other, write(&one) == write(&other));
    }
}

/// A request, from so few values that two of them are often the same.
#[derive(Clone, Debug)]
struct Parts {
    method: Method,
    target: String,
    headers: Vec<(&'static str, Vec<Vec<u8>>)>,
}

impl Parts {
    fn key(&self, backwards: bool) -> HttpKey {
        let mut request = Request::builder().method(&self.method).uri(&self.target);
        let mut headers: Vec<_> = self.headers.iter().collect();
        if backwards {
            headers.reverse();
        }
        for (name, values) in headers {
            for value in values {
                request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
            }
        }
        key(request).unwrap()
    }
}

fn requests() -> impl Strategy<Value = Parts> {
    let method = select(vec![Method::GET, Method::HEAD]);
    let target = select(vec![
        "/",
        "/a",
        "/a?",
        "/a?b",
        "http://h",
        "http://h/a",
        "https://h/a",
        "http://u@h/a",
        "http://h:80/a",
        "http://H/a",
        "http://ha/",
        "http://u:p@h/",
    ]);
    let value = vec(select(vec![b'a', b'\t', b'3', b' ', 0x80]), 0..4);
    let names = proptest::sample::subsequence(vec!["a", "b", "aa", "host", "accept"], 0..4);
    let headers = names.prop_flat_map(move |names| {
        names.into_iter().map(|name| (Just(name), vec(value.clone(), 1..3))).collect::<Vec<_>>()
    });
    (method, target, headers).prop_map(|(method, target, headers)| Parts {
        method,
        target: target.to_owned(),
        headers,
    })
}

fn key(request: Builder) -> Option<HttpKey> {
    key_by(&Http::new(), request)
}

fn key_by(http: &Http, request: Builder) -> Option<HttpKey> {
    http.key(&request.body(Empty::<Bytes>::new()).unwrap())
}

fn bytes(key: &HttpKey) -> Vec<u8> {
    let mut out = Vec::new();
    key.write(&mut out);
    out
}
