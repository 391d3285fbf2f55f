//! Responses of reqwest.

use std::{iter::successors, sync::Arc, task::Poll};

use buttress_core::{ByteBudget, Degraded, Origin, Progress, Reader, Share, Source, Verdict};
use buttress_http::{Http, TooLong};
use http::{HeaderValue, header::CONTENT_LENGTH};
use http_body::Body;
use reqwest::{Response, ResponseBuilderExt, Url};
use tokio_test::task::spawn;

use crate::source::Feed;

#[tokio::test]
async fn every_caller_gets_the_url_the_head_and_the_body() {
    let feed = Feed::new();
    let shared = Http::new().share(response(&feed), &plenty()).unwrap();
    feed.text("one");
    feed.text("two");
    feed.end();
    for reader in [Reader::Leader, Reader::Follower] {
        let restored = restore(&shared, reader);
        assert_eq!(restored.url().as_str(), ADDRESS);
        assert_eq!(restored.status(), 404);
        assert_eq!(restored.headers().get("etag").unwrap(), "\"one\"");
        assert_eq!(restored.text().await.unwrap(), "onetwo");
    }
    assert_eq!(Share::<Response>::progress(&Http::new(), &shared), Progress::Complete);
    assert!(feed.is_dropped());
    let kept = Share::<Response>::for_cache(&Http::new(), &shared);
    let restored = restore(&kept, Reader::Follower);
    assert_eq!(restored.url().as_str(), ADDRESS);
    assert_eq!(restored.content_length(), Some(6));
    assert_eq!(restored.text().await.unwrap(), "onetwo");
}

#[tokio::test]
async fn response_in_place_of_a_failure_is_marked_for_its_caller_alone() {
    let feed = Feed::new();
    let shared = Http::new().share(response(&feed), &plenty()).unwrap();
    feed.end();
    let mut marked = restore(&shared, Reader::Follower);
    let degraded = Degraded::new(Origin::new("dedup"), Source::StaleCache, Verdict::Transient);
    Share::<Response>::mark_degraded(&Http::new(), &mut marked, degraded.clone());
    assert_eq!(marked.extensions().get(), Some(&degraded));
    assert_eq!(restore(&shared, Reader::Follower).extensions().get::<Degraded>(), None);
}

#[tokio::test]
async fn known_length_is_known_to_every_caller() {
    let feed = Feed::of_length(6);
    let shared = Http::new().share(response(&feed), &plenty()).unwrap();
    feed.text("onetwo");
    for reader in [Reader::Leader, Reader::Follower] {
        let restored = restore(&shared, reader);
        assert_eq!(restored.content_length(), Some(6));
        assert_eq!(restored.text().await.unwrap(), "onetwo");
    }
}

#[tokio::test]
async fn a_response_with_a_single_caller_stays_as_it_is() {
    let feed = Feed::of_length(20);
    let http = Http::new().max_shared_body(10);
    let response = http.share(response(&feed), &plenty()).unwrap_err();
    let response = Share::<Response>::own(&http, response);
    assert_eq!(response.url().as_str(), ADDRESS);
    assert_eq!(response.content_length(), Some(20));
    feed.text("twenty bytes, not 21");
    assert_eq!(feed.polls(), 0);
    drop(response);

    let mut response = self::response(&Feed::new());
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("11"));
    assert!(http.share(response, &plenty()).is_err());
}

#[tokio::test]
async fn all_get_all_of_a_body_over_the_cap() {
    let feed = Feed::new();
    let shared = Http::new().max_shared_body(10).share(response(&feed), &plenty()).unwrap();
    let mut readers = [Reader::Leader, Reader::Follower].map(|reader| restore(&shared, reader));
    for _ in 0..10 {
        feed.text("twelve bytes");
        for reader in &mut readers {
            assert_eq!(reader.chunk().await.unwrap().unwrap(), "twelve bytes");
        }
    }
    feed.end();
    for mut reader in readers {
        assert!(reader.chunk().await.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_reader_that_fell_too_far_behind_is_in_the_chain() {
    let feed = Feed::new();
    let http = Http::new().max_shared_body(10);
    let shared = http.share(response(&feed), &plenty()).unwrap();
    let first = restore(&shared, Reader::Leader);
    let later =
        http::Response::<reqwest::Body>::from(restore(&shared, Reader::Follower)).into_body();
    feed.text("twelve bytes");
    feed.text(", and twenty bytes");
    feed.end();
    assert_eq!(first.text().await.unwrap(), "twelve bytes, and twenty bytes");
    let mut later = spawn(later);
    let Poll::Ready(Some(Err(error))) = later.enter(|cx, body| body.poll_frame(cx)) else {
        panic!("its beginning is gone");
    };
    let error: &(dyn std::error::Error + 'static) = &error;
    let mut chain = successors(Some(error), |error| error.source());
    assert!(chain.any(<dyn std::error::Error>::is::<TooLong>));
}

fn response(feed: &Feed) -> Response {
    let url = Url::parse(ADDRESS).unwrap();
    let response = http::Response::builder().status(404).header("etag", "\"one\"").url(url);
    response.body(reqwest::Body::wrap(feed.body())).unwrap().into()
}

fn restore(shared: &<Http as Share<Response>>::Shared, reader: Reader) -> Response {
    Share::<Response>::restore(&Http::new(), shared, reader)
}

fn plenty() -> Arc<ByteBudget> {
    Arc::new(ByteBudget::new(usize::MAX))
}

const ADDRESS: &str = "http://example.org/path?query";
