//! The byte budget of all responses of a layer.

use std::sync::Arc;

use buttress_core::{ByteBudget, Progress, Share};
use buttress_http::Http;
use http::Response;

use crate::{
    callers::{Caller, Got, keep, progress, read, share_by, text},
    source::Feed,
};

#[test]
fn held_bytes_count_until_the_response_is_dropped() {
    let allowance = Arc::new(ByteBudget::new(100));
    let feed = Feed::new();
    let shared = share_by(&Http::new(), &feed, &allowance);
    let mut first = Caller::first(&shared);
    assert_eq!(allowance.remaining(), 100);
    feed.text("12345");
    feed.text("67890");
    assert_eq!(first.read_on(), read("1234567890", Got::Nothing));
    assert_eq!(allowance.remaining(), 90);
    drop(first);
    assert_eq!(allowance.remaining(), 90);
    drop(shared);
    assert_eq!(allowance.remaining(), 100);
}

#[test]
fn window_shrinks_to_the_remaining_byte_budget() {
    let allowance = Arc::new(ByteBudget::new(12));
    let (feed, other_feed) = (Feed::new(), Feed::new());
    let shared = share_by(&Http::new(), &feed, &allowance);
    let other = share_by(&Http::new(), &other_feed, &allowance);
    let mut first = Caller::first(&shared);
    let mut later = Caller::later(&shared);
    let mut other_first = Caller::first(&other);
    feed.text("1234");
    other_feed.text("1234567");
    assert_eq!(first.read(), text("1234"));
    assert_eq!(other_first.read(), text("1234567"));
    assert_eq!(allowance.remaining(), 1);
    feed.text("56");
    feed.text("7890");
    feed.text("more than there is for all of them");
    feed.end();
    assert_eq!(first.read(), Got::Nothing);
    assert_eq!(progress(&shared), Progress::Closed);
    assert_eq!(later.read_on(), read("123456", Got::Nothing));
    assert_eq!(progress(&shared), Progress::Lost);
    assert_eq!(first.read_on(), read("567890", Got::Nothing));
    assert_eq!(allowance.remaining(), 1);
    // One frame is let in whatever it takes.
    let long = "more than there is for all of them";
    assert_eq!(later.read_on(), read(&format!("7890{long}"), Got::Nothing));
    assert_eq!(allowance.remaining(), 5);
    assert_eq!(first.read_on(), read(long, Got::End));
    assert_eq!(later.read(), Got::End);
    other_feed.text("89");
    assert_eq!(other_first.read(), text("89"));
    assert_eq!(progress(&other), Progress::Streaming);
    drop((first, later, shared, other_first, other));
    assert_eq!(allowance.remaining(), 12);
}

#[test]
fn frames_of_a_body_over_the_cap_count_until_all_have_read_them() {
    let allowance = Arc::new(ByteBudget::new(100));
    let feed = Feed::new();
    let shared = share_by(&Http::new().max_shared_body(10), &feed, &allowance);
    let mut first = Caller::first(&shared);
    let mut later = Caller::later(&shared);
    for frame in ["123", "456", "789", "over"] {
        feed.text(frame);
    }
    assert_eq!(later.read_on(), read("123456789", Got::Nothing));
    assert_eq!(allowance.remaining(), 91);
    assert_eq!(first.read(), text("123"));
    assert_eq!(allowance.remaining(), 94);
    assert_eq!(first.read(), text("456"));
    assert_eq!(allowance.remaining(), 97);
    assert_eq!(later.read_on(), read("over", Got::Nothing));
    assert_eq!(allowance.remaining(), 93);
    assert_eq!(first.read(), text("789"));
    assert_eq!(allowance.remaining(), 96);
    assert_eq!(first.read_on(), read("over", Got::Nothing));
    assert_eq!(allowance.remaining(), 100);
    feed.text("more");
    assert_eq!(first.read(), text("more"));
    drop((first, later, shared));
    assert_eq!(allowance.remaining(), 100);
}

#[test]
fn stated_length_is_reserved_at_once() {
    let allowance = Arc::new(ByteBudget::new(10));
    let feed = Feed::of_length(8);
    let shared = share_by(&Http::new(), &feed, &allowance);
    assert_eq!(allowance.remaining(), 2);
    assert!(Http::new().share(Response::new(Feed::of_length(3).body()), &allowance).is_err());
    let mut first = Caller::first(&shared);
    feed.text("12345");
    feed.text("678");
    assert_eq!(first.read_on(), read("12345678", Got::End));
    assert_eq!(allowance.remaining(), 2);
    drop((first, shared));
    assert_eq!(allowance.remaining(), 10);
}

#[test]
fn cached_copy_does_not_count_and_read_frames_do() {
    let allowance = Arc::new(ByteBudget::new(10));
    let feed = Feed::new();
    let shared = share_by(&Http::new(), &feed, &allowance);
    let (mut first, mut slow) = (Caller::first(&shared), Caller::later(&shared));
    feed.text("12345");
    feed.end();
    assert_eq!(first.read_on(), read("12345", Got::End));
    let kept = keep(&shared);
    drop((first, shared));
    assert_eq!(allowance.remaining(), 5, "the slow one has its own still");
    assert_eq!(slow.read_on(), read("12345", Got::End));
    drop(slow);
    assert_eq!(allowance.remaining(), 10);
    assert_eq!(Caller::later(&kept).read_on(), read("12345", Got::End));
}

#[test]
fn an_abandoned_response_gives_back_everything() {
    let allowance = Arc::new(ByteBudget::new(10));
    let feed = Feed::new();
    let shared = share_by(&Http::new(), &feed, &allowance);
    let mut first = Caller::first(&shared);
    feed.text("12345");
    assert_eq!(first.read(), text("12345"));
    drop(first);
    crate::callers::abandon(&shared);
    assert_eq!(allowance.remaining(), 10);
}
