//! What becomes of everybody when the body is longer than what is shared.

use std::sync::Arc;

use buttress_core::{Allowance, Progress, Share};
use buttress_http::Http;
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_LENGTH};

use crate::{
    caller::{Caller, Got, Shared, progress, read, share_by, text},
    feed::{Feed, Step},
};

#[test]
fn the_first_goes_on_who_is_ahead() {
    let (feed, shared) = short();
    let mut first = Caller::first(&shared);
    let mut later = Caller::later(&shared);
    feed.text("12345");
    feed.text("67890");
    assert_eq!(first.read_on(), read("1234567890", Got::Nothing));
    assert_eq!(later.read(), text("12345"));
    feed.text("over");
    assert_eq!(first.read(), text("over"));
    assert_eq!(progress(&shared), Progress::Lost);
    assert_eq!(later.read(), Got::TooLong);
    assert_eq!(later.read(), Got::End);
    feed.text("and on");
    feed.end();
    assert_eq!(first.read_on(), read("and on", Got::End));
    assert!(feed.is_dropped());
}

#[test]
fn the_first_goes_on_who_is_behind() {
    let (feed, shared) = short();
    let mut first = Caller::first(&shared);
    let mut later = Caller::later(&shared);
    feed.text("1234");
    feed.text("5678");
    assert_eq!(first.read(), text("1234"));
    feed.text("over");
    feed.text("and on");
    assert_eq!(later.read_on(), read("12345678", Got::TooLong));
    assert!(!feed.is_dropped());
    assert_eq!(first.read(), text("5678"));
    assert_eq!(first.read(), text("over"));
    assert_eq!(first.read(), text("and on"));
    assert_eq!(first.read(), Got::Nothing);
    feed.end();
    assert!(first.is_woken());
    assert_eq!(first.read(), Got::End);
}

#[test]
fn the_first_is_woken_when_another_finds_that_it_is_too_long() {
    let (feed, shared) = short();
    let mut first = Caller::first(&shared);
    let mut later = Caller::later(&shared);
    assert_eq!(first.read(), Got::Nothing);
    assert_eq!(later.read(), Got::Nothing);
    feed.text("much too long");
    assert_eq!(later.read(), Got::TooLong);
    assert!(first.is_woken());
    assert_eq!(first.read_on(), read("much too long", Got::Nothing));
}

#[test]
fn whoever_pulls_goes_on_where_the_first_is_gone() {
    let (feed, shared) = short();
    let first = Caller::first(&shared);
    let mut driver = Caller::later(&shared);
    let mut other = Caller::later(&shared);
    feed.text("1234");
    assert_eq!(driver.read(), text("1234"));
    assert_eq!(other.read(), text("1234"));
    drop(first);
    feed.text("over the cap");
    feed.end();
    assert_eq!(driver.read(), text("over the cap"));
    assert_eq!(other.read(), Got::TooLong);
    assert_eq!(driver.read(), Got::End);
}

#[test]
fn whoever_pulls_goes_on_where_the_first_has_not_come_yet() {
    let (feed, shared) = short();
    let mut driver = Caller::later(&shared);
    feed.text("1234");
    feed.text("over the cap");
    feed.end();
    assert_eq!(driver.read_on(), read("1234over the cap", Got::End));
    assert_eq!(Caller::first(&shared).read(), Got::TooLong);
}

#[test]
fn another_goes_on_where_the_first_is_gone_before_it_could() {
    let (feed, shared) = short();
    let first = Caller::first(&shared);
    let mut driver = Caller::later(&shared);
    let mut other = Caller::later(&shared);
    feed.text("1234");
    assert_eq!(other.read(), text("1234"));
    feed.text("over the cap");
    feed.end();
    assert_eq!(driver.read_on(), read("1234", Got::TooLong));
    drop(first);
    assert_eq!(other.read_on(), read("over the cap", Got::End));
}

#[test]
fn trailers_count_and_are_not_lost_either() {
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", HeaderValue::from_static("0123456789"));
    let (feed, shared) = short();
    let mut first = Caller::first(&shared);
    feed.text("1234");
    feed.put(Step::Trailers(trailers.clone()));
    assert_eq!(first.read_on(), read("1234", Got::Trailers(trailers)));
    assert_eq!(progress(&shared), Progress::Lost);
    assert!(first.is_end_stream());
    assert_eq!(first.read(), Got::End);
}

#[test]
fn a_failure_after_it_comes_to_the_one_that_goes_on() {
    let (feed, shared) = short();
    let mut first = Caller::first(&shared);
    feed.text("over the cap");
    feed.put(Step::Fail("broken".into()));
    assert_eq!(first.read_on(), read("over the cap", Got::Failed));
    assert!(feed.is_dropped());
    assert_eq!(first.read(), Got::End);
}

#[test]
fn a_body_of_countless_frames_is_too_long() {
    let (feed, shared) = short();
    let mut first = Caller::first(&shared);
    for _ in 0..2000 {
        feed.text("");
        assert_eq!(first.read(), text(""));
    }
    assert_eq!(progress(&shared), Progress::Lost);
}

#[test]
fn a_response_that_says_that_it_is_too_long_is_not_touched() {
    let allowance = Arc::new(Allowance::new(1000));
    let feed = Feed::of_length(11);
    let response = capped().share(Response::new(feed.body()), &allowance).unwrap_err();
    assert_eq!(feed.polls(), 0);
    drop(response);

    let mut response = Response::new(Feed::new().body());
    response.headers_mut().insert(CONTENT_LENGTH, 11.into());
    assert!(capped().share(response, &allowance).is_err());
    assert_eq!(allowance.left(), 1000);

    // The answer to a HEAD has the length and not the body.
    let mut response = Response::new(Feed::of_length(0).body());
    response.headers_mut().insert(CONTENT_LENGTH, 11.into());
    assert!(capped().share(response, &allowance).is_ok());
}

/// A response of which ten bytes are shared.
fn short() -> (Feed, Shared) {
    let feed = Feed::new();
    let shared = share_by(&capped(), &feed, &Arc::new(Allowance::new(usize::MAX)));
    (feed, shared)
}

fn capped() -> Http {
    Http::new().share_cap(10)
}
