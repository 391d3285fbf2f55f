//! The callers of a body that is longer than its window.

use std::{sync::Arc, time::Duration};

use buttress_core::{ByteBudget, Progress, Share};
use buttress_http::Http;
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_LENGTH};
use tokio::time::{Instant, advance};
use tokio_test::task::spawn;

use crate::{
    callers::{Caller, Got, capped, keep, progress, read, share_by, short, text},
    source::{Fed, Feed, Step},
};

#[test]
fn all_readers_get_all_of_a_body_over_the_cap() {
    let (feed, shared) = short();
    let mut readers = [Caller::first(&shared), Caller::later(&shared), Caller::later(&shared)];
    for _ in 0..1000 {
        feed.text("123456");
        for reader in &mut readers {
            assert_eq!(reader.read(), text("123456"));
        }
    }
    feed.end();
    for reader in &mut readers {
        assert_eq!(reader.read(), Got::End);
    }
    assert!(feed.is_dropped());
}

/// Each is polled when it is woken, and reads whatever there is.
#[tokio::test(start_paused = true)]
async fn readers_of_one_task_get_all_of_a_body_that_is_always_ready() {
    let start = Instant::now();
    let (feed, shared) = short();
    let mut readers: Vec<_> = (0..10).map(|_| Caller::later(&shared)).collect();
    for _ in 0..300 {
        feed.text("1234");
    }
    feed.end();
    let mut bytes = [0; 10];
    let mut ended = 0;
    while ended < 10 {
        for (reader, bytes) in readers.iter_mut().zip(&mut bytes) {
            let (read, then) = reader.read_on();
            *bytes += read.len();
            ended += usize::from(then == Got::End && !read.is_empty());
            assert!(matches!(then, Got::Nothing | Got::End));
        }
    }
    assert_eq!(bytes, [1200; 10]);
    assert_eq!(Instant::now(), start);
}

#[test]
fn body_over_the_cap_takes_no_new_caller_and_is_not_cached() {
    let (feed, shared) = short();
    let (mut first, mut later) = (Caller::first(&shared), Caller::later(&shared));
    feed.text("1234567890");
    assert_eq!(first.read(), text("1234567890"));
    assert_eq!(progress(&shared), Progress::Streaming);
    feed.text("over");
    assert_eq!(first.read(), Got::Nothing);
    assert_eq!(progress(&shared), Progress::Closed);
    assert_eq!(later.read_on(), read("1234567890over", Got::Nothing));
    assert_eq!(progress(&shared), Progress::Lost);
    feed.end();
    assert_eq!(first.read_on(), read("over", Got::End));
    assert_eq!(later.read(), Got::End);
    assert_eq!(progress(&shared), Progress::Lost);
    assert_eq!(Caller::later(&keep(&shared)).read(), Got::TooLong);
}

/// As a refresh does in the background.
#[test]
fn read_to_end_stops_at_the_cap() {
    let (feed, shared) = short();
    let mut finish = spawn(Share::<Response<Fed>>::finish(&Http::new(), &shared));
    feed.text("1234567890");
    assert!(finish.poll().is_pending());
    for _ in 0..10 {
        feed.text("over");
    }
    assert!(finish.is_woken());
    assert!(finish.poll().is_ready());
    assert_eq!(feed.polls(), 3);
    drop(finish);
    assert!(feed.is_dropped());
}

#[tokio::test(start_paused = true)]
async fn read_to_end_leaves_the_rest_to_the_readers() {
    let (feed, shared) = short();
    let mut finish = spawn(Share::<Response<Fed>>::finish(&Http::new(), &shared));
    let mut reader = Caller::later(&shared);
    feed.text("12345");
    feed.text("67890");
    assert!(finish.poll().is_pending());
    feed.text("over");
    feed.end();
    assert!(finish.is_woken());
    while finish.poll().is_pending() {
        advance(Duration::from_millis(1)).await;
        assert!(finish.is_woken());
    }
    drop(finish);
    assert_eq!(reader.read_on(), read("1234567890over", Got::End));
}

#[test]
fn a_body_of_exactly_the_cap_is_whole() {
    let (feed, shared) = short();
    feed.text("12345");
    feed.text("67890");
    feed.end();
    assert_eq!(Caller::first(&shared).read_on(), read("1234567890", Got::End));
    assert_eq!(progress(&shared), Progress::Complete);
    assert_eq!(Caller::later(&shared).read_on(), read("1234567890", Got::End));
}

#[test]
fn a_frame_longer_than_the_cap_comes_to_every_reader() {
    for cap in [0, 10] {
        let feed = Feed::new();
        let allowance = Arc::new(ByteBudget::new(1000));
        let shared = share_by(&Http::new().max_shared_body(cap), &feed, &allowance);
        let (mut first, mut later) = (Caller::first(&shared), Caller::later(&shared));
        for _ in 0..3 {
            feed.text("much too long");
            assert_eq!(first.read(), text("much too long"));
            assert_eq!(allowance.remaining(), 1000 - 13);
            assert_eq!(later.read(), text("much too long"));
            assert_eq!(allowance.remaining(), 1000);
        }
        feed.text("short");
        feed.end();
        assert_eq!(later.read(), text("short"));
        assert_eq!(first.read(), text("short"));
        assert_eq!(later.read(), Got::End);
        assert_eq!(first.read(), Got::End);
    }
}

#[test]
fn a_body_over_the_cap_is_dropped_with_its_last_reader() {
    let (feed, shared) = short();
    let (mut first, mut later) = (Caller::first(&shared), Caller::later(&shared));
    feed.text("over the cap");
    assert_eq!(first.read(), text("over the cap"));
    assert_eq!(later.read(), text("over the cap"));
    assert_eq!(later.read(), Got::Nothing);
    drop(first);
    assert!(!feed.is_dropped());
    feed.text("and on");
    assert_eq!(later.read(), text("and on"));
    drop(later);
    assert!(feed.is_dropped());
    assert_eq!(progress(&shared), Progress::Lost);
}

#[test]
fn trailers_count_and_are_not_lost_either() {
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", HeaderValue::from_static("0123456789"));
    let (feed, shared) = short();
    let (mut first, mut later) = (Caller::first(&shared), Caller::later(&shared));
    feed.text("1234");
    feed.put(Step::Trailers(trailers.clone()));
    assert_eq!(first.read_on(), read("1234", Got::Nothing));
    assert_eq!(later.read_on(), read("1234", Got::Trailers(trailers.clone())));
    assert!(later.is_end_stream());
    assert!(!first.is_end_stream());
    assert_eq!(first.read(), Got::Trailers(trailers));
    assert!(first.is_end_stream());
    assert_eq!(first.read(), Got::End);
    assert_eq!(later.read(), Got::End);
    assert_eq!(progress(&shared), Progress::Lost);
}

#[test]
fn a_failure_comes_to_every_reader_in_its_place() {
    let (feed, shared) = short();
    let (mut first, mut later) = (Caller::first(&shared), Caller::later(&shared));
    feed.text("over the cap");
    assert_eq!(first.read(), text("over the cap"));
    assert_eq!(later.read(), text("over the cap"));
    feed.text("and on");
    feed.put(Step::Fail("broken".into()));
    assert_eq!(first.read_on(), read("and on", Got::Failed));
    assert!(feed.is_dropped());
    assert_eq!(later.read_on(), read("and on", Got::Failed));
    assert_eq!(first.read(), Got::End);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_countless_frames_is_over_the_cap() {
    let (feed, shared) = short();
    let (mut first, mut behind) = (Caller::first(&shared), Caller::later(&shared));
    for _ in 0..2000 {
        feed.text("");
    }
    let count = |caller: &mut Caller| {
        std::iter::repeat_with(|| caller.read()).take_while(|got| *got == text("")).count()
    };
    assert_eq!(count(&mut first), 1024);
    assert_eq!(progress(&shared), Progress::Closed);
    // It pulls the rest, for which the first is behind.
    assert_eq!(count(&mut behind), 2000);
    assert_eq!(progress(&shared), Progress::Lost);
    assert_eq!(count(&mut first), 976);
}

#[tokio::test(start_paused = true)]
async fn a_long_stream_holds_no_more_than_the_window() {
    let feed = Feed::new();
    let allowance = Arc::new(ByteBudget::new(1000));
    let shared = share_by(&capped(), &feed, &allowance);
    let (mut first, mut later) = (Caller::first(&shared), Caller::later(&shared));
    for round in 0..10_000 {
        feed.text("1234");
        let (one, other) = if round % 3 == 0 { (2, 1) } else { (1, 2) };
        for _ in 0..one {
            first.read();
            assert!(allowance.remaining() >= 990);
        }
        for _ in 0..other {
            later.read();
            assert!(allowance.remaining() >= 990);
        }
    }
    feed.end();
    assert!(first.read_on().1 == Got::End && later.read_on().1 == Got::End);
    assert_eq!(allowance.remaining(), 1000);
}

#[test]
fn a_response_that_says_that_it_is_too_long_is_not_touched() {
    let allowance = Arc::new(ByteBudget::new(1000));
    let feed = Feed::of_length(11);
    let response = capped().share(Response::new(feed.body()), &allowance).unwrap_err();
    assert_eq!(feed.polls(), 0);
    drop(response);

    let mut response = Response::new(Feed::new().body());
    response.headers_mut().insert(CONTENT_LENGTH, 11.into());
    assert!(capped().share(response, &allowance).is_err());
    assert_eq!(allowance.remaining(), 1000);

    // The answer to a HEAD has the length and not the body.
    let mut response = Response::new(Feed::of_length(0).body());
    response.headers_mut().insert(CONTENT_LENGTH, 11.into());
    assert!(capped().share(response, &allowance).is_ok());
}
