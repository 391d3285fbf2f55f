//! A response without callers.

use buttress_core::Progress;

use crate::{
    callers::{Caller, Got, abandon, progress, read, share, text},
    source::Feed,
};

#[test]
fn the_last_caller_to_leave_does_not_end_it() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut first = Caller::first(&shared);
    feed.text("one");
    assert_eq!(first.read_on(), read("one", Got::Nothing));
    drop(first);
    assert!(!feed.is_dropped());
    assert_eq!(progress(&shared), Progress::Streaming);
    let mut later = Caller::later(&shared);
    feed.text("two");
    feed.end();
    assert_eq!(later.read_on(), read("onetwo", Got::End));
}

#[test]
fn an_abandoned_body_is_dropped_at_once() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut first = Caller::first(&shared);
    assert_eq!(first.read(), Got::Nothing);
    drop(first);
    abandon(&shared);
    assert!(feed.is_dropped());
    assert_eq!(progress(&shared), Progress::Lost);
    abandon(&shared);
    assert_eq!(Caller::later(&shared).read(), Got::Failed);
}

#[test]
fn reader_of_an_abandoned_body_fails() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut first = Caller::first(&shared);
    assert_eq!(first.read(), Got::Nothing);
    abandon(&shared);
    feed.text("one");
    assert_eq!(first.read(), Got::Failed);
    assert!(feed.is_dropped());
}

#[test]
fn a_whole_body_cannot_be_abandoned() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut first = Caller::first(&shared);
    feed.text("one");
    feed.end();
    assert_eq!(first.read_on(), read("one", Got::End));
    abandon(&shared);
    assert_eq!(progress(&shared), Progress::Complete);
    assert_eq!(Caller::later(&shared).read(), text("one"));
}

#[test]
fn an_abandoned_body_over_the_cap_is_dropped_at_once() {
    use std::sync::Arc;

    let http = buttress_http::Http::new().max_shared_body(1);
    let feed = Feed::new();
    let allowance = Arc::new(buttress_core::ByteBudget::new(10));
    let shared = crate::callers::share_by(&http, &feed, &allowance);
    let (mut first, mut later) = (Caller::first(&shared), Caller::later(&shared));
    feed.text("one");
    feed.text("two");
    assert_eq!(first.read_on(), read("one", Got::Nothing));
    drop(first);
    abandon(&shared);
    assert!(feed.is_dropped());
    assert_eq!(allowance.remaining(), 10);
    assert_eq!(later.read(), Got::Failed);
}

#[test]
fn a_waker_that_is_left_behind_keeps_nothing_alive() {
    // The feed holds the waker of the body, and the body's end holds the feed.
    let feed = Feed::new();
    let shared = share(&feed);
    let mut first = Caller::first(&shared);
    assert_eq!(first.read(), Got::Nothing);
    drop((first, shared));
    assert!(feed.is_dropped());
    feed.text("nobody is there to be woken");
}
