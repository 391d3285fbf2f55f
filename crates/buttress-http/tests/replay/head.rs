//! Heads, and which requests are repeated.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use buttress_core::{Attempt, Replay};
use buttress_http::{Http, Idempotent};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, Version};
use http_body_util::Full;
use proptest::prelude::*;

#[test]
fn the_head_is_sent_again_as_it_was() {
    let mut request = Request::builder()
        .method(Method::PUT)
        .uri("https://user@example.org:8443/path?query=%20#")
        .version(Version::HTTP_2)
        .header("accept", "a/b")
        .header("x-odd", HeaderValue::from_bytes(b"\x80\xff tab\t").unwrap())
        .header("x-empty", "")
        .header("accept", "c/d")
        .header("idempotency-key", "\"8e03\"")
        .extension("an extension")
        .body(Full::new(Bytes::from_static(b"body")))
        .unwrap();
    let mut secret = HeaderValue::from_static("Bearer 17");
    secret.set_sensitive(true);
    request.headers_mut().insert("authorization", secret);

    let saved = Http::new().save(&mut request);
    for attempt in [SECOND, SECOND.next()] {
        let again: Request<Full<Bytes>> =
            Http::new().again(saved.as_ref().unwrap(), attempt).unwrap();
        assert_eq!(again.method(), request.method());
        assert_eq!(again.uri(), request.uri());
        assert_eq!(again.version(), request.version());
        assert_eq!(again.headers(), request.headers());
        assert!(again.headers()["authorization"].is_sensitive());
        assert!(!again.headers()["accept"].is_sensitive());
        assert_eq!(again.extensions().get(), Some(&"an extension"));
    }
}

#[test]
fn every_form_of_a_target_is_sent_again() {
    for target in [
        "/",
        "/path?query",
        "/?",
        "*",
        "/\u{e9}?\u{e9}",
        "example.org",
        "user:pass%20@[::1]:8443",
        "http://example.org",
        "HTTPS://Example.org:8443/Path?a?b=/c#end",
        "http://example.org?query",
        "http://example.org#end",
        "ftp+x://user@example.org/",
        "://example.org/path",
    ] {
        let uri = Uri::try_from(target).unwrap();
        assert_eq!(again(&uri).to_string(), uri.to_string(), "{target}");
    }
}

proptest! {
    #[test]
    fn random_target_is_sent_again(
        target in "([a-zA-Z+]{0,6}://)?[a-z:@\\[\\]%.0-9]{0,8}[/?*#]?[ -~\u{e9}]{0,8}",
    ) {
        if let Ok(uri) = Uri::try_from(target.as_str()) {
            let again = again(&uri);
            prop_assert_eq!(again.to_string(), uri.to_string());
            let path = |uri: &Uri| uri.path_and_query().map(|path| path.as_str().to_owned());
            prop_assert_eq!(path(&again), path(&uri));
        }
    }
}

#[test]
fn head_of_any_length_is_sent_again() {
    for length in [0, 1, 400, 500, 600, 5000, 100_000] {
        let value = HeaderValue::from_bytes(&vec![b'x'; length]).unwrap();
        let mut request = Request::get("/").header("x-long", &value).header("x-last", "end");
        request = request.header("x-long", value);
        let mut request = request.body(()).unwrap();
        let saved = Http::new().save(&mut request).unwrap();
        let again: Request<()> = Http::new().again(&saved, SECOND).unwrap();
        assert_eq!(again.headers(), request.headers());
    }
}

/// gRFC A6, "Exposed Retry Metadata".
#[test]
fn a_grpc_request_counts_the_attempts_before_it() {
    let mut request = grpc();
    let saved = Http::new().save(&mut request);
    assert!(!request.headers().contains_key("grpc-previous-rpc-attempts"));
    let saved = saved.unwrap();
    for (attempt, count) in [(SECOND, "1"), (SECOND.next(), "2")] {
        let again: Request<()> = Http::new().again(&saved, attempt).unwrap();
        assert_eq!(again.headers()["grpc-previous-rpc-attempts"], count);
    }
}

#[test]
fn a_request_that_is_not_grpc_counts_nothing() {
    let saved = Http::new().save(&mut Request::new(()));
    let again: Request<()> = Http::new().again(&saved.unwrap(), SECOND).unwrap();
    assert!(again.headers().is_empty());
}

#[test]
fn idempotent_requests_are_repeated_whatever_happened() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PUT", "DELETE"] {
        assert_eq!(repeatable(&Http::new(), request(method)), (true, true), "{method}");
    }
    let keyed = Request::post("/").header("idempotency-key", "\"17\"").body(()).unwrap();
    assert_eq!(repeatable(&Http::new(), keyed), (true, true));
    let marked = Request::post("/").extension(Idempotent).body(()).unwrap();
    assert_eq!(repeatable(&Http::new(), marked), (true, true));
    assert_eq!(repeatable(&Http::new().assume_idempotent(), request("POST")), (true, true));
}

#[test]
fn other_requests_are_never_repeated() {
    for method in ["POST", "PATCH", "CONNECT", "PURGE"] {
        assert_eq!(repeatable(&Http::new(), request(method)), (false, false), "{method}");
    }
    let empty_key = Request::post("/").header("idempotency-key", "").body(()).unwrap();
    assert_eq!(repeatable(&Http::new(), empty_key), (false, false));
    // The target of a request is no header.
    let target = Request::post("idempotency-key://idempotency-key/17").body(()).unwrap();
    assert_eq!(repeatable(&Http::new(), target), (false, false));
    let authority = Request::builder().method("CONNECT").uri("idempotency-key").body(()).unwrap();
    assert_eq!(repeatable(&Http::new(), authority), (false, false));
}

#[test]
fn grpc_requests_are_repeated_when_the_service_answered() {
    assert_eq!(repeatable(&Http::new(), grpc()), (true, false));
    let mut marked = grpc();
    marked.extensions_mut().insert(Idempotent);
    assert_eq!(repeatable(&Http::new(), marked), (true, true));
}

#[test]
fn an_unmarked_grpc_request_is_never_repeated_when_only_idempotent_ones_are() {
    let http = Http::new().only_marked_idempotent();
    assert_eq!(repeatable(&http, grpc()), (false, false));
    let mut keyed = grpc();
    keyed.headers_mut().insert("idempotency-key", HeaderValue::from_static("\"17\""));
    assert_eq!(repeatable(&http, keyed), (true, true));
    let mut marked = grpc();
    marked.extensions_mut().insert(Idempotent);
    assert_eq!(repeatable(&http, marked), (true, true));
    assert_eq!(repeatable(&http, request("PUT")), (true, true));
    assert_eq!(repeatable(&http, request("POST")), (false, false));
    assert_eq!(repeatable(&http.assume_idempotent(), grpc()), (true, true));
}

fn again(uri: &Uri) -> Uri {
    let mut request = Request::new(());
    *request.uri_mut() = uri.clone();
    let saved = Http::new().save(&mut request).unwrap();
    let again: Request<()> = Http::new().again(&saved, SECOND).unwrap();
    assert_eq!(again.uri(), uri);
    again.into_parts().0.uri
}

fn repeatable(http: &Http, mut request: Request<()>) -> (bool, bool) {
    let saved = http.save(&mut request).unwrap();
    let answers = |answered| Replay::<Request<()>>::repeatable(http, &saved, answered);
    (answers(true), answers(false))
}

fn request(method: &str) -> Request<()> {
    Request::builder().method(method).body(()).unwrap()
}

fn grpc() -> Request<()> {
    Request::post("/").header("content-type", "application/grpc").body(()).unwrap()
}

const SECOND: Attempt = Attempt::FIRST.next();
