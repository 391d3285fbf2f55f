//! The wait for slow readers of a body that is longer than its window.

use std::{sync::Arc, time::Duration};

use buttress_core::{ByteBudget, Progress};
use tokio::time::{Instant, advance};

use crate::{
    callers::{Caller, Got, capped, expect, progress, read, share_by, short, text},
    source::Feed,
};

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
    assert_eq!(read.len(), 200);
    assert_eq!(then, Got::End);
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
    assert_eq!(bytes, 5000);
    assert_eq!(slowly, 5000);
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
fn reader_that_leaves_is_not_waited_for_and_frees_its_frames() {
    let feed = Feed::new();
    let allowance = Arc::new(ByteBudget::new(1000));
    let shared = share_by(&capped(), &feed, &allowance);
    let (mut front, behind) = (Caller::later(&shared), Caller::first(&shared));
    for frame in ["12345", "67890", "over", "and on"] {
        feed.text(frame);
    }
    assert_eq!(front.read_on(), read("1234567890", Got::Nothing));
    assert_eq!(allowance.remaining(), 990);
    drop(behind);
    assert_eq!(allowance.remaining(), 1000);
    assert!(front.is_woken());
    assert_eq!(front.read_on(), read("overand on", Got::Nothing));
    assert_eq!(allowance.remaining(), 1000);
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

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
