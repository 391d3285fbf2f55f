//! The bytes that hyper writes for a shared response.

use std::{cell::Cell, convert::Infallible, future::ready, sync::Arc};

use buttress_core::{ByteBudget, Reader, Share};
use buttress_http::{Http, SharedBody};
use http::{Response, StatusCode, header::CONTENT_LENGTH};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use crate::{
    callers::restore,
    source::{Fed, Feed},
};

#[tokio::test]
async fn a_known_length_is_announced() {
    let written = look_the_same("GET", || {
        let feed = Feed::of_length(6);
        feed.text("one");
        feed.text("two");
        Response::new(feed.body())
    });
    assert!(written.await.ends_with("content-length: 6\r\n\r\nonetwo"));
}

#[tokio::test]
async fn body_of_unknown_length_is_chunked_until_complete() {
    let feed = Feed::new();
    let allowance = Arc::new(ByteBudget::new(usize::MAX));
    let shared = Http::new().share(Response::new(feed.body()), &allowance).unwrap();
    feed.text("one");
    feed.text("two");
    feed.end();
    let written = write("GET", restore(&shared, Reader::Leader)).await;
    assert!(written.ends_with("chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
    let written = write("GET", restore(&shared, Reader::Follower)).await;
    assert!(written.ends_with("content-length: 6\r\n\r\nonetwo"));
}

#[tokio::test]
async fn the_answer_to_a_head_has_the_length() {
    let written = look_the_same("HEAD", || Response::new(Feed::of_length(6).body()));
    assert!(written.await.contains("content-length: 6\r\n"));
    let written = look_the_same("HEAD", || {
        let mut response = Response::new(Feed::of_length(0).body());
        response.headers_mut().insert(CONTENT_LENGTH, 6.into());
        response
    });
    assert!(written.await.contains("content-length: 6\r\n"));
}

#[tokio::test]
async fn a_status_without_a_body_has_none() {
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
        let written = look_the_same("GET", || {
            let mut response = Response::new(Feed::of_length(0).body());
            *response.status_mut() = status;
            response
        });
        assert!(written.await.starts_with(&format!("HTTP/1.1 {}", status.as_str())));
    }
}

/// What is written for a response with a single caller, and the same for the callers of a shared one.
async fn look_the_same(method: &str, response: impl Fn() -> Response<Fed>) -> String {
    let own = write(method, Http::new().own(response())).await;
    let allowance = Arc::new(ByteBudget::new(usize::MAX));
    let shared = Http::new().share(response(), &allowance).unwrap();
    for reader in [Reader::Leader, Reader::Follower] {
        assert_eq!(write(method, restore(&shared, reader)).await, own);
    }
    own
}

/// What a server writes that answers with `response`.
async fn write(method: &str, response: Response<SharedBody<Fed>>) -> String {
    let (mut near, far) = duplex(4096);
    let response = Cell::new(Some(response));
    let service = service_fn(|_| ready(Ok::<_, Infallible>(response.take().unwrap())));
    let mut http = http1::Builder::new();
    let served = http.auto_date_header(false).serve_connection(TokioIo::new(far), service);
    let asked = async {
        let request = format!("{method} / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
        near.write_all(request.as_bytes()).await.unwrap();
        let mut written = String::new();
        near.read_to_string(&mut written).await.unwrap();
        written
    };
    let (outcome, written) = tokio::join!(served, asked);
    outcome.unwrap();
    written
}
