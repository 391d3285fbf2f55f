//! Each caller sees the length and the end of a body.

use std::sync::Arc;

use buttress_core::{ByteBudget, Progress};
use buttress_http::{Http, SharedBody};
use http::HeaderMap;
use http_body::{Body, SizeHint};

use crate::{
    callers::{Caller, Got, keep, progress, read, share, share_by, text},
    source::{Fed, Feed, Step},
};

#[test]
fn known_length_is_known_to_every_caller() {
    let feed = Feed::of_length(10);
    let shared = share(&feed);
    let mut first = Caller::first(&shared);
    assert_eq!(first.size_hint().exact(), Some(10));
    feed.text("12345");
    assert_eq!(first.read(), text("12345"));
    assert_eq!(first.size_hint().exact(), Some(5));
    let mut later = Caller::later(&shared);
    assert_eq!(later.size_hint().exact(), Some(10));
    feed.text("67890");
    assert_eq!(first.read(), text("67890"));
    assert!(first.is_end_stream());
    assert_eq!(first.size_hint().exact(), Some(0));
    // Known to be whole with its last byte.
    assert_eq!(progress(&shared), Progress::Complete);
    assert!(feed.is_dropped());
    assert_eq!(later.read(), text("12345"));
    assert!(!later.is_end_stream());
    assert_eq!(later.read(), text("67890"));
    assert!(later.is_end_stream());
}

#[test]
fn an_unknown_length_is_at_least_what_is_there_and_known_at_the_end() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut first = Caller::first(&shared);
    let mut later = Caller::later(&shared);
    assert_eq!(bounds(&first), (0, None));
    feed.text("12345");
    feed.text("678");
    assert_eq!(first.read_on(), read("12345678", Got::Nothing));
    assert_eq!(bounds(&first), (0, None));
    assert_eq!(bounds(&later), (8, None));
    assert!(!first.is_end_stream());
    feed.end();
    assert_eq!(first.read(), Got::End);
    assert_eq!(bounds(&first), (0, Some(0)));
    assert_eq!(bounds(&later), (8, Some(8)));
    assert_eq!(later.read(), text("12345"));
    assert_eq!(bounds(&later), (3, Some(3)));
    assert_eq!(later.read(), text("678"));
    assert!(later.is_end_stream());
}

#[test]
fn a_body_with_trailers_is_given_no_length_it_did_not_say() {
    let feed = Feed::new();
    let shared = share(&feed);
    feed.text("12345");
    feed.put(Step::Trailers(HeaderMap::new()));
    let mut first = Caller::first(&shared);
    assert_eq!(first.read_on(), read("12345", Got::Trailers(HeaderMap::new())));
    // HTTP/1.1 has no trailers after a body with a length.
    for mut caller in [Caller::later(&shared), Caller::later(&keep(&shared))] {
        assert_eq!(bounds(&caller), (5, None));
        assert_eq!(caller.read(), text("12345"));
        assert!(!caller.is_end_stream());
        assert_eq!(caller.read(), Got::Trailers(HeaderMap::new()));
        assert!(caller.is_end_stream());
    }
}

#[test]
fn cached_body_knows_its_length() {
    let feed = Feed::new();
    let shared = share(&feed);
    feed.text("12345");
    feed.text("678");
    feed.end();
    assert_eq!(Caller::first(&shared).read_on(), read("12345678", Got::End));
    let mut caller = Caller::later(&keep(&shared));
    assert_eq!(bounds(&caller), (8, Some(8)));
    assert_eq!(caller.read(), text("12345678"), "in one piece of its own");
    assert!(caller.is_end_stream());
    assert_eq!(caller.read(), Got::End);
}

#[test]
fn a_body_that_has_ended_is_whole_and_not_read() {
    let feed = Feed::of_length(0);
    let shared = share(&feed);
    assert_eq!(progress(&shared), Progress::Complete);
    let mut caller = Caller::first(&shared);
    assert!(caller.is_end_stream());
    assert_eq!(bounds(&caller), (0, Some(0)));
    assert_eq!(caller.read(), Got::End);
    assert_eq!(feed.polls(), 0);
    assert!(feed.is_dropped());
}

#[test]
fn every_reader_of_a_body_over_the_cap_knows_what_is_left() {
    let feed = Feed::new();
    let allowance = Arc::new(ByteBudget::new(usize::MAX));
    let shared = share_by(&Http::new().max_shared_body(10), &feed, &allowance);
    let mut first = Caller::first(&shared);
    let mut later = Caller::later(&shared);
    for frame in ["123", "456", "over", "rest"] {
        feed.text(frame);
    }
    feed.end();
    assert_eq!(later.read_on(), read("123456over", Got::Nothing));
    assert_eq!(bounds(&later), (0, None));
    assert!(!later.is_end_stream());
    assert_eq!(bounds(&first), (10, None));
    assert_eq!(first.read(), text("123"));
    assert_eq!(bounds(&first), (7, None));
    assert_eq!(first.read(), text("456"));
    assert_eq!(later.read_on(), read("rest", Got::End));
    // By now all of it is there.
    assert_eq!(bounds(&later), (0, Some(0)));
    assert_eq!(bounds(&first), (8, Some(8)));
    assert_eq!(first.read(), text("over"));
    assert!(!first.is_end_stream());
    assert_eq!(first.read(), text("rest"));
    assert!(first.is_end_stream());
    assert_eq!(first.read(), Got::End);
}

#[test]
fn no_body_is_a_body_that_has_ended() {
    let body = SharedBody::<Fed>::default();
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
}

fn bounds(caller: &Caller) -> (u64, Option<u64>) {
    let hint: SizeHint = caller.size_hint();
    (hint.lower(), hint.upper())
}
