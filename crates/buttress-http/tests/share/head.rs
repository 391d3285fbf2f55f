//! The head for all callers, and a response with a single caller.

use std::{sync::Arc, task::Poll};

use buttress_core::{ByteBudget, Origin, Reader, Reason, Rejection, Share};
use buttress_http::Http;
use http::{HeaderValue, Response, StatusCode, Version};
use http_body::Body;

use crate::{
    callers::{Shared, restore},
    source::{Fed, Feed},
};

#[test]
fn every_caller_gets_the_same_head() {
    let shared = share(response());
    for reader in [Reader::Leader, Reader::Follower, Reader::Follower] {
        let restored = restore(&shared, reader);
        assert_eq!(restored.status(), StatusCode::NOT_FOUND);
        assert_eq!(restored.version(), Version::HTTP_2);
        assert_eq!(restored.headers(), response().headers());
    }
}

#[test]
fn every_caller_gets_the_extensions() {
    let why = Rejection::new(Reason::Overloaded, Origin::new("throttle"));
    let mut response = response();
    response.extensions_mut().insert(why.clone());
    let shared = share(response);
    for reader in [Reader::Leader, Reader::Follower] {
        assert_eq!(restore(&shared, reader).extensions().get(), Some(&why));
    }
}

#[cfg(feature = "hyper")]
#[test]
fn a_response_that_carries_a_connection_is_not_shared() {
    let mut response = response();
    let upgrade = hyper::upgrade::on(http::Request::new(()));
    response.extensions_mut().insert(upgrade);
    let allowance = Arc::new(ByteBudget::new(usize::MAX));
    assert!(Http::new().share(response, &allowance).is_err());
}

#[test]
fn a_response_with_a_single_caller_is_read_as_it_is() {
    let feed = Feed::of_length(10);
    let mut response = Http::new().own(Response::new(feed.body()));
    assert_eq!(response.body().size_hint().exact(), Some(10));
    feed.text("12345");
    let mut task = tokio_test::task::spawn(response.body_mut());
    let frame = task.enter(|cx, body| body.poll_frame(cx));
    assert!(matches!(frame, Poll::Ready(Some(Ok(frame))) if frame.data_ref().unwrap() == "12345"));
    assert!(task.enter(|cx, body| body.poll_frame(cx)).is_pending());
    feed.text("67890");
    assert!(task.is_woken());
    assert!(task.enter(|cx, body| body.poll_frame(cx)).is_ready());
    assert!(task.is_end_stream());
}

fn share(response: Response<Fed>) -> Shared {
    Http::new().share(response, &Arc::new(ByteBudget::new(usize::MAX))).unwrap()
}

fn response() -> Response<Fed> {
    let mut response = Response::new(Feed::new().body());
    *response.status_mut() = StatusCode::NOT_FOUND;
    *response.version_mut() = Version::HTTP_2;
    response.headers_mut().append("etag", HeaderValue::from_static("\"one\""));
    response.headers_mut().append("via", HeaderValue::from_static("1.1 a"));
    response.headers_mut().append("via", HeaderValue::from_static("1.1 b"));
    response
}
