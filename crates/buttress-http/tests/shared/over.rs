//! What becomes of everybody when the body is longer than what is held of it.

use std::{sync::Arc, time::Duration};

use buttress_core::{Allowance, Progress, Share};
use buttress_http::Http;
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_LENGTH};
use tokio::time::{Instant, advance};
use tokio_test::task::spawn;

use crate::{
    caller::{Caller, Got, Shared, expect, keep, progress, read, share_by, text},
    feed::{Fed, Feed, Step},
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

#[tokio::test(start_paused = true)]
async fn the_front_waits_for_a_reader_that_is_behind_and_goes_on_once_that_has_read() {
    let (feed, shared) = short();
    let (mut front, mut behind) = (Caller::first(&shared), Caller::later(&shared));
    for frame in ["12345", "67890", "over", "and on"] {
        feed.text(frame);
    }
    feed.end();
    assert_eq!(front.read_on(), read("1234567890", Got::Nothing));
    assert!(!front.is_woken());
    assert_eq!(behind.read(), text("12345"));
    assert!(front.is_woken());
    assert_eq!(front.read_on(), read("over", Got::Nothing));
    assert_eq!(behind.read_on(), read("67890overand on", Got::End));
    assert!(front.is_woken());
    assert_eq!(front.read_on(), read("and on", Got::End));
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

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_on_for_10_ms_is_left_behind() {
    let (feed, shared) = short();
    let (mut front, mut behind) = (Caller::first(&shared), Caller::later(&shared));
    for frame in ["1234", "5678", "over", "and on"] {
        feed.text(frame);
    }
    assert_eq!(behind.read(), text("1234"));
    assert_eq!(front.read_on(), read("12345678over", Got::Nothing));
    assert_eq!(waits(&mut front).await, (10, text("and on")));
    assert_eq!(behind.read(), Got::TooLong);
    assert_eq!(behind.read(), Got::End);
    feed.end();
    assert_eq!(front.read(), Got::End);
}

/// Wherever they stopped.
#[tokio::test(start_paused = true)]
async fn readers_that_do_not_read_on_cost_the_others_10_ms_together() {
    let (feed, shared) = short();
    let mut front = Caller::first(&shared);
    let mut stopped: Vec<_> = (0..5).map(|_| Caller::later(&shared)).collect();
    for _ in 0..100 {
        feed.text("12");
    }
    feed.end();
    for (frames, reader) in stopped.iter_mut().enumerate() {
        for _ in 0..frames {
            assert_eq!(reader.read(), text("12"));
        }
    }
    let start = Instant::now();
    let (read, then) = read_all(&mut front).await;
    assert_eq!((read.len(), then), (200, Got::End));
    assert_eq!(start.elapsed(), ms(10));
    for mut reader in stopped {
        assert_eq!(reader.read(), Got::TooLong);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_that_never_catches_up_holds_the_others_up_for_1_s_and_is_left_behind() {
    let (feed, shared) = short();
    let (mut front, mut slow) = (Caller::first(&shared), Caller::later(&shared));
    for _ in 0..1000 {
        feed.text("12345");
    }
    feed.end();
    let start = Instant::now();
    let mut last = None;
    let mut bytes = 0;
    for turn in 0.. {
        let (read, then) = front.read_on();
        bytes += read.len();
        if then == Got::End {
            break;
        }
        if turn % 5 == 4 && last.is_none() {
            last = Some(slow.read()).filter(|got| *got != text("12345"));
        }
        advance(ms(1)).await;
    }
    assert_eq!(bytes, 5000);
    // Four ticks of five: it begins another with each frame.
    assert!((1000..1260).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(last.unwrap_or_else(|| slow.read()), Got::TooLong);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_catches_up_now_and_then_is_waited_for_as_often_as_it_takes() {
    let (feed, shared) = short();
    let (mut front, mut slow) = (Caller::first(&shared), Caller::later(&shared));
    for _ in 0..1000 {
        feed.text("12345");
    }
    feed.end();
    let (mut bytes, mut slowly) = (0, 0);
    for turn in 0.. {
        bytes += front.read_on().0.len();
        if turn % 9 == 8 {
            let (read, then) = slow.read_on();
            slowly += read.len();
            assert!(matches!(then, Got::Nothing | Got::End));
            if then == Got::End {
                break;
            }
        }
        advance(ms(1)).await;
    }
    bytes += front.read_on().0.len();
    assert_eq!((bytes, slowly), (5000, 5000));
}

#[tokio::test(start_paused = true)]
async fn callers_that_have_not_come_for_the_body_yet_are_waited_for_like_readers() {
    let (feed, shared) = short();
    expect(&shared, 3);
    let mut front = Caller::first(&shared);
    for _ in 0..10 {
        feed.text("12345");
    }
    assert_eq!(front.read_on(), read("1234512345", Got::Nothing));
    assert_eq!(progress(&shared), Progress::Closed);
    let mut late = Caller::later(&shared);
    assert_eq!(late.read_on(), read("1234512345", Got::Nothing));
    assert_eq!(waits(&mut front).await, (10, text("12345")));
    assert_eq!(progress(&shared), Progress::Lost);
    assert_eq!(Caller::later(&shared).read(), Got::TooLong);
    assert_eq!(late.read(), text("12345"));
    assert_eq!(front.read(), text("12345"));
}

#[test]
fn a_body_over_the_cap_takes_no_new_caller_and_is_not_kept() {
    let (feed, shared) = short();
    let (mut first, mut later) = (Caller::first(&shared), Caller::later(&shared));
    feed.text("1234567890");
    assert_eq!(first.read(), text("1234567890"));
    assert_eq!(progress(&shared), Progress::Open);
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
fn what_reads_a_body_for_nobody_stops_at_the_cap() {
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
async fn what_reads_a_body_for_nobody_leaves_it_to_those_who_read_it() {
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
        advance(ms(1)).await;
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
    assert_eq!(progress(&shared), Progress::Whole);
    assert_eq!(Caller::later(&shared).read_on(), read("1234567890", Got::End));
}

#[test]
fn a_frame_longer_than_the_cap_comes_to_every_reader() {
    for cap in [0, 10] {
        let feed = Feed::new();
        let allowance = Arc::new(Allowance::new(1000));
        let shared = share_by(&Http::new().share_cap(cap), &feed, &allowance);
        let (mut first, mut later) = (Caller::first(&shared), Caller::later(&shared));
        for _ in 0..3 {
            feed.text("much too long");
            assert_eq!(first.read(), text("much too long"));
            assert_eq!(allowance.left(), 1000 - 13);
            assert_eq!(later.read(), text("much too long"));
            assert_eq!(allowance.left(), 1000);
        }
        feed.text("short");
        feed.end();
        assert_eq!((later.read(), first.read()), (text("short"), text("short")));
        assert_eq!((later.read(), first.read()), (Got::End, Got::End));
    }
}

#[test]
fn whoever_leaves_is_not_waited_for_and_frees_its_frames() {
    let feed = Feed::new();
    let allowance = Arc::new(Allowance::new(1000));
    let shared = share_by(&capped(), &feed, &allowance);
    let (mut front, behind) = (Caller::later(&shared), Caller::first(&shared));
    for frame in ["12345", "67890", "over", "and on"] {
        feed.text(frame);
    }
    assert_eq!(front.read_on(), read("1234567890", Got::Nothing));
    assert_eq!(allowance.left(), 990);
    drop(behind);
    assert_eq!(allowance.left(), 1000);
    assert!(front.is_woken());
    assert_eq!(front.read_on(), read("overand on", Got::Nothing));
    assert_eq!(allowance.left(), 1000);
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
    assert_eq!((first.read(), later.read()), (Got::End, Got::End));
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
    let allowance = Arc::new(Allowance::new(1000));
    let shared = share_by(&capped(), &feed, &allowance);
    let (mut first, mut later) = (Caller::first(&shared), Caller::later(&shared));
    for round in 0..10_000 {
        feed.text("1234");
        let (one, other) = if round % 3 == 0 { (2, 1) } else { (1, 2) };
        for _ in 0..one {
            first.read();
            assert!(allowance.left() >= 990);
        }
        for _ in 0..other {
            later.read();
            assert!(allowance.left() >= 990);
        }
    }
    feed.end();
    assert!(first.read_on().1 == Got::End && later.read_on().1 == Got::End);
    assert_eq!(allowance.left(), 1000);
}

/// There is no timer. A reader that is behind has some turns of the others to read on.
#[test]
fn without_a_runtime_a_reader_that_is_behind_is_waited_for_some_turns() {
    let (feed, shared) = short();
    let (mut front, mut behind) = (Caller::first(&shared), Caller::later(&shared));
    feed.text("12345");
    feed.text("over the cap");
    assert_eq!(front.read(), text("12345"));
    for _ in 0..10 {
        assert_eq!(front.read(), Got::Nothing);
        assert!(front.is_woken());
    }
    assert_eq!(front.read(), text("over the cap"));
    assert_eq!(behind.read(), Got::TooLong);
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

/// How many ms the caller waits, and for what.
async fn waits(caller: &mut Caller) -> (u32, Got) {
    for waited in 0.. {
        match caller.read() {
            Got::Nothing => advance(ms(1)).await,
            got => return (waited, got),
        }
    }
    unreachable!("it would wait for weeks")
}

/// Reads on to the end, with time passing wherever there is nothing.
async fn read_all(caller: &mut Caller) -> (String, Got) {
    let mut all = String::new();
    loop {
        let (read, then) = caller.read_on();
        all.push_str(&read);
        if then != Got::Nothing {
            return (all, then);
        }
        advance(ms(1)).await;
    }
}

/// A response of which ten bytes are held.
fn short() -> (Feed, Shared) {
    let feed = Feed::new();
    let shared = share_by(&capped(), &feed, &Arc::new(Allowance::new(usize::MAX)));
    (feed, shared)
}

fn capped() -> Http {
    Http::new().share_cap(10)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
