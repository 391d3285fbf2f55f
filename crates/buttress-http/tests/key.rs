//! The keys of requests.
#![expect(clippy::unwrap_used, reason = "the helpers of a test panic as the test would")]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::KeyOf;
use buttress_http::{Http, HttpKey};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header::HOST, request::Builder};
use http_body::{Body, Frame};
use http_body_util::{Empty, Full};
use proptest::prelude::*;

#[test]
fn requests_that_are_sent_alike_have_one_key() {
    let get = || Request::get("http://host/path?query").header("accept", "text/html");
    assert_eq!(key(get()).unwrap(), key(get()).unwrap());
    assert_eq!(key(get().header("traceparent", "a")), key(get().header("traceparent", "b")));
    let head = || Request::head("/");
    assert_eq!(key(head()).unwrap(), key(head()).unwrap());
}

#[test]
fn fragment_is_not_part_of_the_key() {
    for (one, other) in [
        ("http://host/", "HTTP://host/"),
        ("http://host/", "http://host"),
        ("http://host/a", "http://host/a#fragment"),
    ] {
        assert_eq!(get(one), get(other), "{one} {other}");
    }
}

#[test]
fn an_address_that_is_written_in_another_way_has_another_key() {
    all_differ([
        Request::get("http://host/"),
        Request::get("http://Host/"),
        Request::get("http://HOST/"),
        Request::get("http://host:/"),
        Request::get("http://host:80/"),
        Request::get("http://host:080/"),
        Request::get("https://host/"),
        Request::get("https://host:443/"),
        Request::get("other://host/"),
        Request::get("OTHER://host/"),
        Request::get("http://[::1]/"),
        Request::get("http://[::1]:80/"),
        Request::get("http://[0::1]/"),
        Request::get("http://host./"),
    ]);
}

#[test]
fn requests_for_something_else_have_another_key() {
    let requests = [
        Request::get("http://host/a"),
        Request::head("http://host/a"),
        Request::get("https://host/a"),
        Request::get("http://host:443/a"),
        Request::get("https://host:80/a"),
        Request::get("http://host:8080/a"),
        Request::get("http://hosta/"),
        Request::get("http://host/A"),
        Request::get("http://host/%61"),
        Request::get("http://host/a/"),
        Request::get("http://host/./a"),
        Request::get("http://host/a?"),
        Request::get("http://host/a?b"),
        Request::get("http://host/a%3Fb"),
        Request::get("http://host/a?B"),
        Request::get("http://@host/a"),
        Request::get("http://user@host/a"),
        Request::get("http://User@host/a"),
        Request::get("http://user:@host/a"),
        Request::get("http://user:password@host/a"),
        Request::get("/a"),
        Request::get("//host/a"),
        Request::get("/http://host/a"),
        Request::get("host"),
        Request::get("//host"),
        Request::get("/host"),
        Request::get("/"),
    ];
    all_differ(requests);
}

#[test]
fn two_users_never_have_one_key() {
    for name in ["authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token"] {
        all_differ([
            Request::get("/"),
            Request::get("/").header(name, ""),
            Request::get("/").header(name, "ab"),
            Request::get("/").header(name, "AB"),
            Request::get("/").header(name, "a").header(name, "b"),
            Request::get("/").header(name, "b").header(name, "a"),
            Request::get("/").header(name, "a, b"),
            Request::get("/").header(name, "a,b"),
            Request::get("/").header(name, "ab").header(name, ""),
            Request::get("/").header(name, "").header(name, "ab"),
            Request::get("/").header(name, "ab").header(name, "ab"),
        ]);
    }
    for name in ["remote-user", "x-auth-request-user", "x-forwarded-user", "x-remote-user"] {
        all_differ([
            Request::get("/"),
            Request::get("/").header(name, "alice"),
            Request::get("/").header(name, "bob"),
        ]);
    }
}

/// Each of these says to some service who asks: GitLab, Azure, Vault, oauth2-proxy, Cloudflare, Google's
/// proxies, and whatever comes next.
#[test]
fn a_header_that_no_list_knows_is_part_of_the_key() {
    for name in [
        "private-token",
        "api-key",
        "x-vault-token",
        "x-forwarded-email",
        "x-auth-request-email",
        "x-forwarded-for",
        "x-real-ip",
        "x-amz-security-token",
        "cf-access-jwt-assertion",
        "x-goog-iap-jwt-assertion",
        "ocp-apim-subscription-key",
        "x-ms-client-principal-id",
        "x-tenant",
        "x-csrf-token",
        "x_api_key",
        "baggage",
        "via",
        "user-agent",
        "referer",
        "x-never-heard-of",
        "a",
    ] {
        all_differ([
            Request::get("/"),
            Request::get("/").header(name, ""),
            Request::get("/").header(name, "alice"),
            Request::get("/").header(name, "bob"),
            Request::get("/").header(name, "alice").header(name, "bob"),
            Request::get("/").header(name, "bob").header(name, "alice"),
        ]);
    }
}

#[test]
fn header_that_identifies_neither_caller_nor_resource_is_ignored() {
    for (name, value) in IGNORED {
        let request = || Request::get("/").header("cookie", "a");
        assert_eq!(key(request().header(name, value)), key(request()), "{name}");
        assert!(key(request()).is_some(), "{name}");
    }
}

#[test]
fn deadline_and_criticality_headers_are_ignored() {
    let left = HeaderName::from_static("x-left");
    let weight = HeaderName::from_static("x-weight");
    let http = Http::new().timeout_header(left).criticality_header(weight);
    let with = |name, value| key_of(&http, Request::get("/").header(name, value));
    assert_eq!(with("x-left", "250"), with("x-left", "249"));
    assert_eq!(with("x-weight", "critical"), with("x-weight", "sheddable"));
    assert_ne!(with("x-criticality", "critical"), with("x-criticality", "sheddable"));
    assert_ne!(key(Request::get("/").header("x-left", "250")), get("/"));
}

#[test]
fn the_program_can_ignore_more_headers() {
    let names = ["x-forwarded-for", "x-color"].map(HeaderName::from_static);
    let http = Http::new().ignore_headers(names).ignore_headers([HOST]);
    let with = |name, value| key_of(&http, Request::get("/").header(name, value));
    assert_eq!(with("x-forwarded-for", "10.0.0.1"), with("x-forwarded-for", "10.0.0.2"));
    assert_eq!(with("x-color", "red"), with("traceparent", "00"));
    assert_ne!(with("x-tenant", "a"), with("x-tenant", "b"));
    // What is asked for is never ignored.
    assert_ne!(with("host", "a"), with("host", "b"));
}

#[test]
fn the_program_can_name_the_only_headers_that_count() {
    let only = |name| Http::new().key_headers([HeaderName::from_static(name)]);
    let http = only("x-tenant").key_headers([http::header::ACCEPT]);
    let with = |name, value| key_of(&http, Request::get("/").header(name, value));
    for name in ["x-tenant", "accept", "host"] {
        assert_ne!(with(name, "a"), with(name, "b"), "{name}");
    }
    for name in ["cookie", "user-agent", "x-never-heard-of"] {
        assert_eq!(with(name, "a"), with(name, "b"), "{name}");
    }
    assert_eq!(with("x_tenant", "a"), None, "a service may take it for the other");
    let traced = only("traceparent");
    let of = |value| key_of(&traced, Request::get("/").header("traceparent", value));
    assert_ne!(of("a"), of("b"));
}

#[test]
fn two_spellings_of_a_cgi_variable_have_no_key() {
    let request = Request::get("/").header("x-user", "alice");
    assert_eq!(key(request.header("x_user", "bob")), None);
    let request = Request::get("/").header("x_user_id", "alice");
    assert_eq!(key(request.header("x-user_id", "bob")), None);
    assert_eq!(
        changes(Request::get("/").header("x_http_method_override", "DELETE")),
        subject(Request::get("/"))
    );
}

#[test]
fn the_key_of_a_request_with_many_headers_does_not_depend_on_their_order() {
    let names: Vec<_> =
        (0..60).map(|at| format!("x-{}", "n".repeat(at % 7) + &at.to_string())).collect();
    let all = |names: &mut dyn Iterator<Item = &String>| {
        key(names.fold(Request::get("/"), |request, name| request.header(name, name))).unwrap()
    };
    assert_eq!(all(&mut names.iter()), all(&mut names.iter().rev()));
    assert_ne!(all(&mut names.iter()), all(&mut names.iter().skip(1)));
}

#[test]
fn a_header_that_may_choose_the_answer_is_part_of_the_key() {
    let names = [
        "accept",
        "accept-encoding",
        "accept-language",
        "origin",
        "forwarded",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-proto",
        "x-forwarded-scheme",
        "x-original-url",
        "x-rewrite-url",
    ];
    let plain = [Request::get("/"), Request::get("/").header("host", "evil")];
    all_differ(plain.into_iter().chain(names.map(|name| Request::get("/").header(name, "evil"))));
}

#[test]
fn the_host_counts_where_it_stands_and_as_it_stands() {
    all_differ([
        Request::get("/"),
        Request::get("/").header("host", "host"),
        Request::get("/").header("host", "HOST"),
        Request::get("/").header("host", "host:80"),
        Request::get("/").header("host", "evil"),
        Request::get("/").header("host", "host").header("host", "evil"),
        Request::get("/").header("host", "evil").header("host", "host"),
        Request::get("http://host/"),
        Request::get("http://host/").header("host", "host"),
        Request::get("http://host/").header("host", "evil"),
        Request::get("http://evil/").header("host", "host"),
        Request::get("http://host@evil/"),
    ]);
}

#[test]
fn a_value_cannot_pose_as_another_header() {
    let binary = |bytes: &[u8]| HeaderValue::from_bytes(bytes).unwrap();
    all_differ([
        Request::get("/").header("accept", "a").header("cookie", "b"),
        Request::get("/").header("accept", "a\tcookie: b"),
        Request::get("/").header("accept", "acookieb"),
        Request::get("/").header("accept", "a").header("authorization", "b"),
        Request::get("/").header("accept", "").header("cookie", "ab"),
        Request::get("/").header("accept", "ab").header("cookie", ""),
        Request::get("/").header("cookie", binary(b"\xff")),
        Request::get("/").header("cookie", binary(b"\xfe")),
        Request::get("/").header("cookie", binary(b"\xff\xfe")),
        Request::get("/").header("cookie", "\u{fffd}"),
        Request::get("/accept/a"),
    ]);
}

#[test]
fn the_order_of_different_headers_does_not_matter() {
    let one = Request::get("/").header("cookie", "a").header("accept", "b").header("x-own", "c");
    let other = Request::get("/").header("X-Own", "c").header("ACCEPT", "b").header("Cookie", "a");
    assert_eq!(key(one).unwrap(), key(other).unwrap());
}

#[test]
fn a_header_the_program_adds_is_part_of_the_key() {
    let names = ["traceparent", "x-color"].map(HeaderName::from_static);
    let http = Http::new().ignore_headers(names.clone()).vary(names);
    let with = |name, value| key_of(&http, Request::get("/").header(name, value));
    assert_ne!(with("traceparent", "a"), with("traceparent", "b"));
    assert_ne!(with("x-color", "a"), with("x-color", "b"));
    let only = Http::new().key_headers([]).vary([HeaderName::from_static("x-tenant")]);
    let with = |name, value| key_of(&only, Request::get("/").header(name, value));
    assert_ne!(with("x-tenant", "a"), with("x-tenant", "b"));
    assert_eq!(with("cookie", "a"), with("cookie", "b"));
}

#[test]
fn only_get_and_head_have_a_key() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY", "get", "PURGE"] {
        assert_eq!(key(Request::builder().method(method).uri("/")), None, "{method}");
    }
}

#[test]
fn request_for_a_response_of_its_own_has_no_key() {
    for (name, value) in [
        ("range", "bytes=0-1"),
        ("if-range", "\"a\""),
        ("if-match", "\"a\""),
        ("if-none-match", "\"a\""),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("if-unmodified-since", "x"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("connection", "close, upgrade"),
        ("connection", "cookie"),
        ("expect", "100-continue"),
        ("pragma", "no-cache"),
        ("cache-control", "no-cache"),
        ("cache-control", "No-Store"),
        ("cache-control", "max-stale, no-store"),
        ("content-length", "1"),
        ("content-length", "00"),
        ("transfer-encoding", "chunked"),
        ("content-type", "application/grpc"),
        ("content-type", "Application/gRPC-Web-Text"),
        ("accept", "text/event-stream"),
        ("accept", "Text/Event-Stream, */*"),
        ("last-event-id", ""),
        ("x_http_method_override", "DELETE"),
        ("x-http-method", "DELETE"),
        ("x-http-method-override", "DELETE"),
        ("x-method-override", "DELETE"),
    ] {
        assert_eq!(key(Request::get("/").header(name, value)), None, "{name}: {value}");
    }
}

#[test]
fn a_request_that_asks_for_no_more_than_others_has_a_key() {
    for (name, value) in [
        ("connection", "keep-alive"),
        ("connection", "Close"),
        ("cache-control", ""),
        ("cache-control", "max-stale"),
        ("cache-control", "max-stale=60, max-stale"),
        ("cache-control", "max-age=0"),
        ("cache-control", "max-age=259200"),
        ("cache-control", "max-stale=\"a, b"),
        ("cache-control", "min-fresh=5, only-if-cached"),
        ("cache-control", "no-transform, unheard-of=no-store"),
        ("pragma", "x"),
        ("content-length", "0"),
        ("te", "trailers"),
    ] {
        assert_eq!(key(Request::get("/").header(name, value)), get("/"), "{name}: {value}");
    }
}

#[test]
fn request_with_a_body_has_no_key() {
    let request = |body| Request::get("/").body(Full::new(Bytes::from_static(body))).unwrap();
    assert_eq!(Http::new().key(&request(b"body")), None);
    assert_eq!(Http::new().key(&request(b"")), get("/"));
    // It says nothing about itself, neither in a header nor in a hint of its size.
    assert_eq!(Http::new().key(&Request::get("/").body(Stream).unwrap()), None);
}

#[test]
fn the_debug_of_a_key_shows_no_secret() {
    let request = Request::get("HTTP://user:hunter2@Host:80/a?b")
        .header("authorization", "hunter2")
        .header("cookie", "hunter2")
        .header("x-api-key", "hunter2");
    let key = key(request).unwrap();
    assert_eq!(key.method(), Method::GET);
    assert_eq!(key.target(), "http://Host:80/a?b");
    let debug = format!("{key:?}");
    assert!(debug.contains("GET") && debug.contains("http://Host:80/a?b"), "{debug}");
    assert!(!debug.contains("hunter2") && !debug.contains("user"), "{debug}");
    assert_eq!(get("/a?b").unwrap().target(), "/a?b");
}

#[test]
fn weight_of_a_key_includes_its_headers() {
    let cookie = "c".repeat(64 << 10);
    let weight = |request| {
        let request = Builder::body(request, Empty::<Bytes>::new()).unwrap();
        let key = Http::new().key(&request).unwrap();
        KeyOf::<Request<Empty<Bytes>>>::weight(&Http::new(), &key)
    };
    let short = weight(Request::get("http://host/a"));
    assert!(short < 200, "{short}");
    assert!(weight(Request::get("http://host/a").header("cookie", &cookie)) > short + cookie.len());
}

#[test]
fn a_request_that_is_not_safe_changes_its_target() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "PURGE"] {
        for (asked, changed) in [
            (Request::get("/a?b"), Request::builder().uri("/a?b")),
            (Request::get("http://host/a"), Request::builder().uri("http://host/a")),
            (Request::head("http://host/a"), Request::builder().uri("http://user@HOST:80/a")),
            (
                Request::get("http://host/a").header("accept", "b").header("cookie", "c"),
                Request::builder().uri("/a").header("host", "Host:80").header("accept", "d"),
            ),
            (
                Request::get("/a").header("host", "HOST"),
                Request::builder().uri("https://host:443/a"),
            ),
        ] {
            let subject = subject(asked).unwrap();
            assert_eq!(changes(changed.method(method)), Some(subject), "{method}");
        }
    }
}

#[test]
fn a_request_changes_no_other_target() {
    let subject = subject(Request::get("http://host/a?b").header("host", "host2")).unwrap();
    for uri in
        ["http://host/a", "http://host/a?c", "http://host2/a?b", "http://host:81/a?b", "/a?b"]
    {
        assert_ne!(changes(Request::post(uri)), Some(subject), "{uri}");
    }
    for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
        assert_eq!(changes(Request::builder().method(method).uri("http://host/a?b")), None);
    }
}

#[test]
fn a_method_that_is_overridden_changes_the_target() {
    let request = Request::get("http://host/a").header("x-http-method-override", "DELETE");
    assert_eq!(changes(request), subject(Request::get("http://host/a")));
}

#[cfg(feature = "reqwest")]
mod of_reqwest {
    use reqwest::{Body, Request, Url};

    use super::*;

    #[test]
    fn a_request_of_reqwest_has_the_key_of_the_same_request_of_http() {
        for (url, sent) in [
            ("http://host/a?b#c", "http://host/a?b"),
            ("https://User:Word@HOST:443/%61", "https://User:Word@host/%61"),
            ("http://[::1]:8080", "http://[::1]:8080/"),
        ] {
            let mut request = Request::new(Method::GET, Url::parse(url).unwrap());
            request.headers_mut().insert("cookie", HeaderValue::from_static("a"));
            let expected = key(http::Request::get(sent).header("cookie", "a"));
            assert_eq!(Http::new().key(&request), expected, "{url}");
        }
        let url = Url::parse("http://host/a").unwrap();
        let post = Request::new(Method::POST, url);
        assert_eq!(Http::new().key(&post), None);
        assert_eq!(Http::new().invalidates(&post), subject(http::Request::get("http://host/a")));
    }

    #[test]
    fn reqwest_request_with_a_body_has_no_key() {
        let request = |body| {
            let mut request = Request::new(Method::GET, Url::parse("http://host/").unwrap());
            *request.body_mut() = Some(body);
            request
        };
        assert_eq!(Http::new().key(&request(Body::from("body"))), None);
        assert_eq!(Http::new().key(&request(Body::wrap(Stream))), None);
        assert_eq!(Http::new().key(&request(Body::from(""))), get("http://host/"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn keys_are_equal_if_and_only_if_all_parts_are(
        one in parts(),
        other in parts(),
        same in any::<[bool; 4]>(),
        backwards in any::<bool>(),
    ) {
        let other = other.with_parts_of(&one, same);
        let of = |parts: &Parts, backwards| key(parts.request(backwards)).unwrap();
        prop_assert_eq!(of(&one, false) == of(&other, backwards), one.model() == other.model());
        prop_assert_eq!(of(&one, false), of(&one, backwards));
    }
}

/// A request in its parts, from so few values that two of them are often the same.
#[derive(Clone, Debug)]
struct Parts {
    head: bool,
    origin: Option<(&'static str, &'static str, &'static str, &'static str)>,
    path: &'static str,
    headers: Vec<(&'static str, Vec<Vec<u8>>)>,
}

#[derive(Debug, PartialEq)]
struct Model {
    head: bool,
    origin: Option<(String, &'static str, &'static str, &'static str)>,
    path: &'static str,
    headers: BTreeMap<&'static str, Vec<Vec<u8>>>,
}

impl Parts {
    fn with_parts_of(self, other: &Self, [head, origin, path, headers]: [bool; 4]) -> Self {
        Self {
            head: if head { other.head } else { self.head },
            origin: if origin { other.origin } else { self.origin },
            path: if path { other.path } else { self.path },
            headers: if headers { other.headers.clone() } else { self.headers },
        }
    }

    fn request(&self, backwards: bool) -> Builder {
        let origin =
            self.origin.map(|(scheme, user, host, port)| format!("{scheme}://{user}{host}{port}"));
        let uri = format!("{}{}", origin.unwrap_or_default(), self.path);
        let method = if self.head { Method::HEAD } else { Method::GET };
        let mut request = Request::builder().method(method).uri(uri);
        let mut headers: Vec<_> = self.headers.iter().collect();
        if backwards {
            headers.reverse();
        }
        for (name, values) in headers {
            for value in values {
                request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
            }
        }
        request
    }

    fn model(&self) -> Model {
        let mut headers = BTreeMap::<_, Vec<_>>::new();
        for (name, values) in &self.headers {
            if *name != "traceparent" {
                headers.entry(*name).or_default().extend(values.iter().cloned());
            }
        }
        headers.retain(|_, values| !values.is_empty());
        // `http::Uri` knows these two schemes however they are written.
        let origin =
            self.origin.map(|(scheme, user, host, port)| (scheme.to_lowercase(), user, host, port));
        Model { head: self.head, origin, path: self.path, headers }
    }
}

fn parts() -> impl Strategy<Value = Parts> {
    let origin = (
        prop::sample::select(vec!["http", "HTTP", "https"]),
        prop::sample::select(vec!["", "", "a@", "a:b@"]),
        prop::sample::select(vec!["h", "H"]),
        prop::sample::select(vec!["", ":80", ":443"]),
    );
    let value = prop::collection::vec(prop::sample::select(b"ab,\xff\t".to_vec()), 0..3)
        .prop_map(|value| value.trim_ascii().to_vec());
    let values = prop::collection::vec(value, 0..3);
    let names = ["host", "authorization", "cookie", "accept", "x-tenant", "traceparent"];
    let headers = prop::sample::subsequence(names.to_vec(), 0..3)
        .prop_flat_map(move |names| {
            let count = names.len();
            (Just(names), prop::collection::vec(values.clone(), count))
        })
        .prop_map(|(names, values)| names.into_iter().zip(values).collect());
    (
        prop::bool::weighted(0.1),
        prop::option::of(origin),
        prop::sample::select(vec!["/", "/", "/a", "/a?", "/a?b"]),
        headers,
    )
        .prop_map(|(head, origin, path, headers)| Parts { head, origin, path, headers })
}

/// Every header that is ignored, with a value that lets the request have a key.
const IGNORED: [(&str, &str); 29] = [
    ("connection", "keep-alive"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "keep-alive"),
    ("te", "trailers"),
    ("content-length", "0"),
    ("cache-control", "max-age=259200"),
    ("pragma", "x"),
    ("priority", "u=1"),
    ("x-request-id", "7"),
    ("x-correlation-id", "7"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("tracestate", "vendor=1"),
    ("b3", "0"),
    ("x-b3-traceid", "7"),
    ("x-b3-spanid", "7"),
    ("x-b3-parentspanid", "7"),
    ("x-b3-sampled", "1"),
    ("x-b3-flags", "1"),
    ("uber-trace-id", "7"),
    ("x-amzn-trace-id", "Root=1"),
    ("x-cloud-trace-context", "7/0"),
    ("x-datadog-trace-id", "7"),
    ("x-datadog-parent-id", "7"),
    ("x-datadog-sampling-priority", "1"),
    ("x-datadog-origin", "rum"),
    ("x-datadog-tags", "a=b"),
    ("newrelic", "e30="),
    ("sentry-trace", "7-7-1"),
    ("x-criticality", "sheddable"),
];

/// A body that does not say whether more follows.
struct Stream;

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}

/// A fleet invalidates by these numbers, also while two versions of a program run side by side.
#[test]
fn resource_has_the_same_hash_in_every_process_and_version() {
    let cases = [
        ("http://host/a", 0x36fd_674f_39c3_f712_u64),
        ("http://HOST:80/%61?q=1", 0xef31_c39e_1920_c98a),
    ];
    for (target, hash) in cases {
        assert_eq!(changes(http::Request::put(target)), Some(hash), "{target}");
        assert_eq!(subject(http::Request::get(target)), Some(hash), "{target}");
    }
}

fn all_differ(requests: impl IntoIterator<Item = Builder>) {
    let keys: Vec<_> = requests.into_iter().map(|request| key(request).unwrap()).collect();
    all_different(&keys);
}

fn all_different(keys: &[HttpKey]) {
    for (at, key) in keys.iter().enumerate() {
        let same = keys.iter().skip(at + 1).position(|other| other == key);
        assert_eq!(same, None, "{at}: {key:?}");
    }
}

fn get(uri: &str) -> Option<HttpKey> {
    key(Request::get(uri))
}

fn key(request: Builder) -> Option<HttpKey> {
    key_of(&Http::new(), request)
}

fn key_of(http: &Http, request: Builder) -> Option<HttpKey> {
    http.key(&request.body(Empty::<Bytes>::new()).unwrap())
}

fn subject(request: Builder) -> Option<u64> {
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    KeyOf::<Request<Empty<Bytes>>>::resource(&Http::new(), &Http::new().key(&request).unwrap())
}

fn changes(request: Builder) -> Option<u64> {
    Http::new().invalidates(&request.body(Empty::<Bytes>::new()).unwrap())
}
