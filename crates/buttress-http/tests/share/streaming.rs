//! Streaming to several callers.

use buttress_core::Progress;
use http::{HeaderMap, HeaderValue};

use crate::{
    callers::{Caller, Got, progress, read, share, text},
    source::{Feed, Step},
};

#[test]
fn every_caller_gets_each_frame_as_soon_as_it_is_there() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut callers = [Caller::first(&shared), Caller::later(&shared), Caller::later(&shared)];
    for caller in &mut callers {
        assert_eq!(caller.read(), Got::Nothing);
    }
    for frame in ["one", "two"] {
        feed.text(frame);
        assert!(callers[0].is_woken());
        assert_eq!(callers[0].read(), text(frame));
        for caller in &mut callers[1..] {
            assert!(caller.is_woken());
            assert_eq!(caller.read(), text(frame));
        }
        for caller in &mut callers {
            assert_eq!(caller.read(), Got::Nothing);
        }
    }
    feed.end();
    for caller in &mut callers {
        assert!(caller.is_woken());
        assert_eq!(caller.read(), Got::End);
        assert_eq!(caller.read(), Got::End);
    }
}

#[test]
fn a_late_caller_reads_from_the_first_byte() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut first = Caller::first(&shared);
    feed.text("one");
    feed.text("two");
    assert_eq!(first.read_on(), read("onetwo", Got::Nothing));
    assert_eq!(progress(&shared), Progress::Streaming);
    let mut late = Caller::later(&shared);
    assert_eq!(late.read_on(), read("onetwo", Got::Nothing));
    feed.end();
    assert_eq!(first.read(), Got::End);
    assert_eq!(progress(&shared), Progress::Complete);
    assert_eq!(Caller::later(&shared).read_on(), read("onetwo", Got::End));
    assert_eq!(late.read(), Got::End);
}

#[test]
fn caller_that_does_not_read_delays_no_other() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut slow = Caller::first(&shared);
    let mut quick = Caller::later(&shared);
    feed.text("one");
    assert_eq!(slow.read(), text("one"));
    feed.text("two");
    feed.text("three");
    feed.end();
    assert_eq!(quick.read_on(), read("onetwothree", Got::End));
    assert_eq!(slow.read_on(), read("twothree", Got::End));
}

#[test]
fn another_reader_drives_after_the_driver_left() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut driver = Caller::first(&shared);
    let mut other = Caller::later(&shared);
    assert_eq!(other.read(), Got::Nothing);
    assert_eq!(driver.read(), Got::Nothing);
    feed.text("one");
    assert_eq!(driver.read(), text("one"));
    assert_eq!(other.read(), text("one"));
    assert_eq!(other.read(), Got::Nothing);
    assert_eq!(driver.read(), Got::Nothing);
    // Woken, and gone before it could be polled.
    feed.text("two");
    drop(driver);
    assert!(other.is_woken());
    assert_eq!(other.read(), text("two"));
    assert_eq!(other.read(), Got::Nothing);
    feed.end();
    assert!(other.is_woken());
    assert_eq!(other.read(), Got::End);
}

#[test]
fn reader_that_drove_and_is_not_polled_delays_no_other() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut driver = Caller::first(&shared);
    let mut other = Caller::later(&shared);
    assert_eq!(driver.read(), Got::Nothing);
    assert_eq!(other.read(), Got::Nothing);
    for frame in ["one", "two", "three"] {
        feed.text(frame);
        assert!(other.is_woken());
        assert_eq!(other.read(), text(frame));
        assert_eq!(other.read(), Got::Nothing);
    }
    feed.end();
    assert!(other.is_woken());
    assert_eq!(other.read(), Got::End);
    assert_eq!(driver.read_on(), read("onetwothree", Got::End));
}

#[test]
fn callers_who_wait_do_not_poll_the_body_again() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut callers: Vec<_> = (0..10).map(|_| Caller::later(&shared)).collect();
    for caller in &mut callers {
        assert_eq!(caller.read(), Got::Nothing);
        assert_eq!(caller.read(), Got::Nothing);
    }
    assert_eq!(feed.polls(), 1);
    feed.text("one");
    for caller in &mut callers {
        assert_eq!(caller.read_on(), read("one", Got::Nothing));
    }
    assert_eq!(feed.polls(), 3);
}

#[test]
fn trailers_reach_every_reader_and_end_the_body() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let feed = Feed::new();
    let shared = share(&feed);
    let mut first = Caller::first(&shared);
    let mut later = Caller::later(&shared);
    feed.text("one");
    feed.put(Step::Trailers(trailers.clone()));
    assert_eq!(first.read_on(), read("one", Got::Trailers(trailers.clone())));
    assert_eq!(progress(&shared), Progress::Complete);
    assert!(feed.is_dropped());
    assert!(first.is_end_stream());
    assert_eq!(first.read(), Got::End);
    assert_eq!(later.read_on(), read("one", Got::Trailers(trailers)));
    assert!(later.is_end_stream());
}

#[test]
fn the_body_is_dropped_as_soon_as_it_has_ended() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut first = Caller::first(&shared);
    feed.text("one");
    assert_eq!(first.read(), text("one"));
    assert!(!feed.is_dropped());
    feed.end();
    assert_eq!(first.read(), Got::End);
    assert!(feed.is_dropped());
}

#[test]
fn small_chunks_come_as_they_were() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut first = Caller::first(&shared);
    let mut expected = String::new();
    for chunk in ["a", "", "bc", "d"].iter().cycle().take(2000) {
        feed.text(chunk);
        expected.push_str(chunk);
        assert_eq!(first.read(), text(chunk));
    }
    feed.end();
    assert_eq!(Caller::later(&shared).read_on(), (expected, Got::End));
}

#[test]
fn a_thousand_callers_come_and_go() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut callers: Vec<_> = (0..1000).map(|_| Caller::later(&shared)).collect();
    for caller in &mut callers {
        assert_eq!(caller.read(), Got::Nothing);
    }
    let mut expected = String::new();
    for round in 0..20 {
        feed.text("frame ");
        expected.push_str("frame ");
        callers.truncate(1000 - 40 * round);
        callers.rotate_left(7);
        assert!(callers.iter().any(Caller::is_woken));
        for caller in &mut callers {
            assert_eq!(caller.read(), text("frame "));
            assert_eq!(caller.read(), Got::Nothing);
        }
    }
    feed.end();
    for caller in &mut callers {
        assert_eq!(caller.read(), Got::End);
    }
    assert_eq!(Caller::later(&shared).read_on(), (expected, Got::End));
}
