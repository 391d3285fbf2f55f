//! Responses in a cache.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_core::{Age, ByteBudget, Progress, Reader, Share};
use buttress_http::Http;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use http_body::Body;
use tokio::time::Instant;

use crate::{
    callers::{Caller, Got, Shared, keep, progress, read, restore, share},
    source::{Fed, Feed, Step},
};

#[test]
fn cached_response_is_the_same_for_every_caller() {
    let kept = keep(&whole());
    assert_eq!(progress(&kept), Progress::Complete);
    for _ in 0..3 {
        let response =
            restore(&kept, Reader::cached(Age::new(Duration::from_secs(3), Instant::now()), false));
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(response.version(), Version::HTTP_10);
        assert_eq!(response.headers().get("etag").unwrap(), "\"one\"");
        assert_eq!(response.headers().get("age").unwrap(), "3");
        assert_eq!(Caller::later(&kept).read_on(), read("onetwo", Got::Trailers(trailers())));
    }
}

#[test]
fn cached_response_keeps_its_headers_their_order_and_sensitivity() {
    let feed = Feed::of_length(0);
    let mut response = Response::new(feed.body());
    let mut secret = HeaderValue::from_static("secret");
    secret.set_sensitive(true);
    let headers = response.headers_mut();
    headers.append("vary", HeaderValue::from_static("accept"));
    headers.append("x-token", secret);
    headers.append("vary", HeaderValue::from_static(""));
    headers.append("x-odd", HeaderValue::from_bytes(b"\xff").unwrap());
    let headers = headers.clone();
    let shared = Http::new().share(response, &Arc::new(ByteBudget::new(usize::MAX))).unwrap();
    let kept = restore(&keep(&shared), Reader::Follower);
    assert_eq!(*kept.headers(), headers);
    assert!(kept.headers()["x-token"].is_sensitive());
    assert!(!kept.headers()["vary"].is_sensitive());
}

#[test]
fn hop_by_hop_headers_are_not_cached() {
    let mut response = Response::new(Feed::of_length(0).body());
    for (name, value) in [
        ("connection", "close, X-Hop"),
        ("connection", ",, x-Other"),
        ("x-hop", "1"),
        ("x-other", "2"),
        ("x-hops", "3"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("etag", "\"one\""),
    ] {
        response.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let shared = Http::new().share(response, &Arc::new(ByteBudget::new(usize::MAX))).unwrap();
    // A caller that joined in time gets the same as the first.
    assert!(restore(&shared, Reader::Follower).headers().contains_key("x-hop"));
    let kept = restore(&keep(&shared), Reader::Follower);
    let names: Vec<_> = kept.headers().keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["x-hops", "etag"]);
}

#[test]
fn size_of_a_cached_body_is_that_of_its_rest() {
    let kept = keep(&whole());
    let mut body = restore(&kept, Reader::Follower).into_body();
    let mut lefts = Vec::new();
    while !body.is_end_stream() {
        lefts.push(body.size_hint().lower());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(Some(Ok(_)))));
    }
    assert_eq!(lefts, [6, 0], "the data and the trailers");
    assert_eq!(body.size_hint().lower(), 0);
}

#[test]
fn cached_response_has_no_extensions() {
    #[derive(Clone, Debug, PartialEq)]
    struct OfThisCall;

    let feed = Feed::of_length(0);
    let mut response = Response::new(feed.body());
    response.extensions_mut().insert(OfThisCall);
    let allowance = Arc::new(ByteBudget::new(usize::MAX));
    let shared = Http::new().share(response, &allowance).unwrap();
    assert_eq!(restore(&shared, Reader::Follower).extensions().get(), Some(&OfThisCall));
    let kept = restore(&keep(&shared), Reader::Follower);
    assert_eq!(kept.extensions().get::<OfThisCall>(), None);
}

#[test]
fn the_weight_is_that_of_the_head_and_the_body() {
    let shared = whole();
    let nothing = weight(&keep(&share(&Feed::of_length(0))));
    let head = "etag\"one\"".len() + 32;
    let body = "onetwo".len() + 2 * 32;
    let trailers = "checksum".len() + "6".len() + 32 + 32;
    assert_eq!(weight(&shared), nothing + head + body + trailers);
    assert_eq!(weight(&keep(&shared)), weight(&shared) - 32, "its data is in one piece");
}

/// A response that has been read.
fn whole() -> Shared {
    let feed = Feed::new();
    let mut response = Response::new(feed.body());
    *response.status_mut() = StatusCode::ACCEPTED;
    *response.version_mut() = Version::HTTP_10;
    response.headers_mut().insert("etag", HeaderValue::from_static("\"one\""));
    let shared = Http::new().share(response, &Arc::new(ByteBudget::new(usize::MAX))).unwrap();
    feed.text("one");
    feed.text("two");
    feed.put(Step::Trailers(trailers()));
    let mut caller = Caller::first(&shared);
    assert_eq!(caller.read_on(), read("onetwo", Got::Trailers(trailers())));
    shared
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", HeaderValue::from_static("6"));
    trailers
}

fn weight(shared: &Shared) -> usize {
    Share::<Response<Fed>>::weight(&Http::new(), shared)
}
