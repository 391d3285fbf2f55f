//! Stale entries that are served during a refresh.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use buttress_core::{Attempt, Criticality, Deadline, Verdict};
use buttress_dedup::{DedupLayer, DedupSnapshot};
use buttress_testkit::{Events, TestError, counts};
use futures_util::future::join_all;
use tokio::time::{Instant, advance, sleep, timeout};
use tokio_test::{assert_ready_ok, task};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Cached, Does, Seen, cache, constant, exactly, ms, s, settle, snapshot};

/// RFC 5861.
#[tokio::test(start_paused = true)]
async fn hundred_readers_of_a_stale_entry_start_one_refresh_and_do_not_wait() {
    let cached = Cached::new(exactly(s(10)).stale_while_revalidate(s(20)));
    assert_eq!(cached.get(7).await, Ok(1));
    cached.source.takes(ms(50));
    advance(s(5)).await;
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(cached.source.calls(), 1);
    advance(s(10)).await;
    let asked = Instant::now();
    let all = cached.get_together(100, 7).await;
    assert_eq!(all, [Ok(1); 100]);
    assert_eq!(asked.elapsed(), s(0), "no reader waits");
    settle().await;
    assert_eq!(cached.source.calls(), 2);
    assert_eq!(cached.source.most(), 1);
    let expected = counts!(DedupSnapshot {
        calls: 102,
        leaders: 2,
        cache_hits: 101,
        stale_hits: 100,
        refreshes: 1,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(snapshot(&cached.handle), expected);
    assert_eq!(cached.get(7).await, Ok(2));
    let expected = counts!(DedupSnapshot { calls: 103, cache_hits: 102, ..expected });
    assert_eq!(snapshot(&cached.handle), expected);
    advance(s(31)).await;
    let asked = Instant::now();
    assert_eq!(cached.get(7).await, Ok(3));
    assert_eq!(asked.elapsed(), ms(50));
    let expected = counts!(DedupSnapshot { calls: 104, leaders: 3, ..expected });
    assert_eq!(snapshot(&cached.handle), expected);
}

#[tokio::test(start_paused = true)]
async fn refresh_in_flight_prevents_a_second_one() {
    let cached = Cached::new(exactly(s(10)).stale_while_revalidate(s(20)));
    cached.get(7).await.unwrap();
    cached.source.takes(s(15));
    advance(s(11)).await;
    for _ in 0..140 {
        assert_eq!(cached.get(7).await, Ok(1));
        sleep(ms(100)).await;
    }
    assert_eq!(cached.source.calls(), 2);
    let expected = counts!(DedupSnapshot {
        calls: 141,
        leaders: 2,
        cache_hits: 140,
        stale_hits: 140,
        refreshes: 1,
        in_flight: 1,
        waiters: 1,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(snapshot(&cached.handle), expected, "readers are not members of the flight");
    sleep(s(2)).await;
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(cached.source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn refresh_continues_when_its_reader_leaves() {
    let cached = Cached::new(exactly(s(10)).stale_while_revalidate(s(20)));
    cached.get(7).await.unwrap();
    cached.source.takes(s(1));
    advance(s(10)).await;
    // The call is never polled.
    drop(tower::Service::call(&mut cached.service.clone(), 7));
    sleep(s(2)).await;
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(cached.source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn refresh_has_its_own_deadline_and_criticality_and_is_a_first_attempt() {
    let cache = exactly(s(10)).stale_while_revalidate(s(60)).refresh_timeout(s(3));
    let cached = Cached::new(cache);
    cached.get(7).await.unwrap();
    advance(s(10)).await;
    cached.source.takes(ms(20));
    let started = Instant::now();
    let reader = Criticality::CriticalPlus.around(cached.get(7));
    let reader = Deadline::after(ms(5)).around(reader);
    let mut reader = std::pin::pin!(reader);
    let third = Attempt::FIRST.next().next();
    let poll = |cx: &mut std::task::Context<'_>| third.with(|| reader.as_mut().poll(cx));
    assert_eq!(std::future::poll_fn(poll).await, Ok(1));
    settle().await;
    let seen = cached.source.seen()[1];
    assert_eq!(seen.at, started);
    assert_eq!(seen.terms.deadline, Some(Deadline::at(started + s(3))));
    assert_eq!(seen.terms.criticality, Criticality::SheddablePlus);
    assert_eq!(seen.attempt, Attempt::FIRST);
    assert_eq!(cached.get(7).await, Ok(2), "the reader's 5 ms did not apply to the refresh");
}

#[tokio::test(start_paused = true)]
async fn refresh_timeout_is_thirty_seconds_by_default() {
    let cached = Cached::new(exactly(s(10)).stale_while_revalidate(s(60)));
    cached.get(7).await.unwrap();
    advance(s(10)).await;
    let started = Instant::now();
    cached.get(7).await.unwrap();
    settle().await;
    assert_eq!(cached.source.seen()[1].terms.deadline, Some(Deadline::at(started + s(30))));
}

#[tokio::test(start_paused = true)]
async fn hanging_refresh_is_dropped_at_its_timeout_and_starts_the_backoff() {
    let cache = exactly(s(10))
        .stale_while_revalidate(s(100))
        .refresh_timeout(s(5))
        .refresh_backoff(constant(s(2)));
    let cached = Cached::new(cache);
    cached.get(7).await.unwrap();
    cached.source.does(Does::Hang);
    advance(s(10)).await;
    let started = Instant::now();
    while started.elapsed() < ms(4_999) {
        assert_eq!(cached.get(7).await, Ok(1));
        sleep(ms(1)).await;
    }
    assert_eq!(cached.source.calls(), 2);
    assert_eq!(cached.source.live(), 1);
    assert_eq!(cached.handle.in_flight(), 1);
    sleep(ms(2)).await;
    assert_eq!(cached.source.live(), 0);
    let expected = counts!(DedupSnapshot {
        calls: 5000,
        leaders: 2,
        cache_hits: 4999,
        stale_hits: 4999,
        refreshes: 1,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(snapshot(&cached.handle), expected);
    while started.elapsed() < ms(6_999) {
        assert_eq!(cached.get(7).await, Ok(1));
        sleep(ms(1)).await;
    }
    assert_eq!(cached.source.calls(), 2);
    assert_eq!(cached.handle.refreshes(), 1);
    cached.source.does(Does::Answer);
    sleep(ms(2)).await;
    assert_eq!(cached.get(7).await, Ok(1));
    settle().await;
    assert_eq!(cached.get(7).await, Ok(3));
    assert_eq!(cached.source.calls(), 3);
    assert_eq!(cached.handle.refreshes(), 2);
}

/// Reads every 5 ms for `time`. Returns the starts of the refreshes, in seconds after the first read.
async fn refreshes(cached: &Cached, time: Duration) -> Vec<f64> {
    let started = Instant::now();
    let before = cached.source.calls();
    while started.elapsed() < time {
        assert_eq!(cached.get(7).await, Ok(1));
        sleep(ms(5)).await;
    }
    let began = |seen: &Seen| seen.at.duration_since(started).as_secs_f64();
    cached.source.seen().iter().skip(before).map(began).collect()
}

#[tokio::test(start_paused = true)]
async fn failed_refreshes_back_off_by_one_two_and_four_seconds() {
    for does in [Does::Fail(TestError::Failed), Does::Panic, Does::Fail(TestError::NotFound)] {
        let cached = Cached::new(exactly(s(10)).stale_while_revalidate(s(20)));
        cached.get(7).await.unwrap();
        cached.source.does(does);
        advance(s(10)).await;
        let began = refreshes(&cached, s(19)).await;
        assert!(began.len() >= 4, "{does:?}: {began:?}");
        assert!(began[0] < 0.01, "{began:?}");
        for (n, delay) in [1.0, 2.0, 4.0].into_iter().enumerate() {
            let waited = began[n + 1] - began[n];
            assert!((delay * 0.8..=delay * 1.2 + 0.01).contains(&waited), "{does:?}: {began:?}");
        }
        assert_eq!(cached.source.most(), 1);
        assert_eq!(cached.handle.refreshes(), began.len() as u64);
        assert_eq!(
            cached.handle.panics(),
            if does == Does::Panic { cached.handle.refreshes() } else { 0 }
        );
        // Past the stale window, the entry has expired.
        sleep(s(1)).await;
        cached.source.does(Does::Answer);
        assert_eq!(cached.get(7).await, Ok(u32::try_from(began.len()).unwrap() + 2));
    }
}

#[tokio::test(start_paused = true)]
async fn successful_refresh_resets_the_backoff() {
    let cache = exactly(s(10)).stale_while_revalidate(s(100)).refresh_timeout(s(1));
    let cached = Cached::new(cache);
    cached.get(7).await.unwrap();
    cached.source.does(Does::Fail(TestError::Failed));
    advance(s(10)).await;
    assert!(refreshes(&cached, s(20)).await.len() >= 4);
    cached.source.does(Does::Answer);
    let renewed = loop {
        sleep(s(1)).await;
        match cached.get(7).await.unwrap() {
            1 => {}
            value => break value,
        }
    };
    cached.source.does(Does::Fail(TestError::Failed));
    advance(s(11)).await;
    let (started, before) = (Instant::now(), cached.source.calls());
    while started.elapsed() < ms(1_300) {
        assert_eq!(cached.get(7).await, Ok(renewed));
        sleep(ms(5)).await;
    }
    assert_eq!(cached.source.calls() - before, 2);
}

#[tokio::test(start_paused = true)]
async fn refresh_without_a_cacheable_response_starts_the_backoff() {
    // All responses but the first are permanent failures.
    let classify = |outcome: Result<&u32, &TestError>| match outcome {
        Ok(1) => Verdict::Success,
        _ => Verdict::Permanent,
    };
    let cache = exactly(s(10))
        .stale_while_revalidate(s(20))
        .refresh_backoff(constant(s(4)))
        .classify(classify);
    let cached = Cached::new(cache);
    cached.get(7).await.unwrap();
    advance(s(10)).await;
    let began = refreshes(&cached, s(9)).await;
    assert_eq!(began.len(), 3, "{began:?}");
}

#[tokio::test(start_paused = true)]
async fn panicking_refresh_emits_an_event() {
    let cached = Cached::new(exactly(s(10)).stale_while_revalidate(s(20)));
    cached.get(7).await.unwrap();
    cached.source.does(Does::Panic);
    advance(s(10)).await;
    let events = Events::of("buttress");
    assert_eq!(cached.get(7).await, Ok(1));
    settle().await;
    assert_eq!(events.names(), ["dedup.cache_hit", "dedup.refresh_started", "dedup.panicked"]);
    let expected = counts!(DedupSnapshot {
        calls: 2,
        leaders: 2,
        cache_hits: 1,
        stale_hits: 1,
        refreshes: 1,
        panics: 1,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(snapshot(&cached.handle), expected);
}

#[tokio::test(start_paused = true)]
async fn readers_after_the_window_join_the_refresh_in_flight() {
    let cached = Cached::new(exactly(s(10)).stale_while_revalidate(s(5)));
    cached.get(7).await.unwrap();
    cached.source.takes(s(10));
    advance(s(14)).await;
    assert_eq!(cached.get(7).await, Ok(1));
    sleep(s(2)).await;
    let asked = Instant::now();
    let all = cached.get_together(10, 7).await;
    assert_eq!(all, [Ok(2); 10]);
    assert_eq!(asked.elapsed(), s(8));
    assert_eq!(cached.source.calls(), 2);
    let expected = counts!(DedupSnapshot {
        calls: 12,
        leaders: 2,
        followers: 10,
        cache_hits: 1,
        stale_hits: 1,
        refreshes: 1,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(snapshot(&cached.handle), expected);
}

#[tokio::test(start_paused = true)]
async fn follower_of_a_refresh_extends_it_past_the_refresh_timeout() {
    let cache = exactly(s(10)).stale_while_revalidate(s(5)).refresh_timeout(s(4));
    let cached = Cached::new(cache);
    cached.get(7).await.unwrap();
    cached.source.takes(s(10));
    advance(s(14)).await;
    assert_eq!(cached.get(7).await, Ok(1));
    sleep(s(2)).await;
    let asked = Instant::now();
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(asked.elapsed(), s(8));
    assert_eq!(cached.source.calls(), 2);
    assert_eq!(cached.get(7).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn follower_that_leaves_a_refresh_does_not_end_it() {
    let cached = Cached::new(exactly(s(10)).stale_while_revalidate(s(5)));
    cached.get(7).await.unwrap();
    cached.source.takes(s(10));
    advance(s(14)).await;
    cached.get(7).await.unwrap();
    sleep(s(2)).await;
    assert!(timeout(s(1), cached.get(7)).await.is_err());
    sleep(s(8)).await;
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(cached.source.calls(), 2);
}

#[test]
fn stale_entry_is_served_without_refresh_when_there_is_no_runtime() {
    let cached = Cached::new(exactly(s(0)).stale_while_revalidate(s(1_000)));
    let get = || cached.service.clone().oneshot(7);
    let poll = || assert_ready_ok!(task::spawn(get()).poll());
    assert_eq!(poll(), 1);
    assert_eq!(poll(), 1);
    assert_eq!(poll(), 1);
    assert_eq!(cached.source.calls(), 1);
    let expected = counts!(DedupSnapshot {
        calls: 3,
        leaders: 1,
        cache_hits: 2,
        stale_hits: 2,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(snapshot(&cached.handle), expected);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        assert_eq!(get().await, Ok(1));
        while cached.handle.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(get().await, Ok(2), "with a runtime, the entry is refreshed");
    });
    assert_eq!(cached.handle.refreshes(), 2);
}

#[tokio::test(start_paused = true)]
async fn entries_are_not_refreshed_without_a_stale_window() {
    let cached = Cached::new(cache(s(10)));
    for _ in 0..200 {
        cached.get(7).await.unwrap();
        advance(ms(500)).await;
    }
    assert_eq!(cached.handle.refreshes(), 0);
    assert_eq!(cached.handle.stale_hits(), 0);
    assert!((9..=12).contains(&cached.source.calls()), "{}", cached.source.calls());
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_refresh() {
    let cached = Cached::new(exactly(s(10)).stale_while_revalidate(s(10)));
    cached.load(0..10).await;
    cached.source.takes(ms(50));
    advance(s(10)).await;
    for _ in 0..10 {
        join_all((0..10).map(|key| cached.get(key))).await;
    }
    settle().await;
    assert_eq!(cached.source.calls(), 20);
    assert_eq!(cached.source.most(), 10);
    assert_eq!(cached.handle.refreshes(), 10);
}

#[tokio::test(start_paused = true)]
async fn hanging_refresh_times_out_only_the_callers_of_one_timeout() {
    let cache = exactly(s(1)).stale_while_revalidate(s(1)).refresh_timeout(s(30));
    let cached = Cached::new(cache);
    cached.get(7).await.unwrap();
    advance(s(1)).await;
    cached.source.does(Does::Hang);
    assert_eq!(cached.get(7).await, Ok(1));
    sleep(s(1)).await;
    assert_eq!(cached.source.calls(), 2);
    assert_eq!(cached.source.live(), 1);
    cached.source.does(Does::Answer);
    // The entry has expired, so the callers wait for the refresh.
    assert_eq!(cached.timed_out(100, |_| 7).await, 10);
    sleep(s(30)).await;
    assert_eq!(cached.source.live(), 0);
    assert_eq!(cached.handle.in_flight(), 0);
}

/// The response of a call. That of the second call panics when it is cloned, so it is not cached.
#[derive(Debug, PartialEq, Eq)]
struct Numbered(usize);

impl Clone for Numbered {
    fn clone(&self) -> Self {
        assert!(self.0 != 2, "as told");
        Self(self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn entry_whose_successor_was_not_written_is_refreshed_again_after_the_backoff() {
    let cache = exactly(s(10)).stale_while_revalidate(s(100)).refresh_backoff(constant(s(2)));
    let calls = Arc::new(AtomicUsize::new(0));
    let upstream =
        move |_: u32| ready(Ok::<_, TestError>(Numbered(calls.fetch_add(1, SeqCst) + 1)));
    let layer = DedupLayer::new().cache(cache);
    let service = layer.layer(service_fn(upstream));
    let get = || service.clone().oneshot(7);
    assert_eq!(get().await, Ok(Numbered(1)));
    advance(s(10)).await;
    assert_eq!(get().await, Ok(Numbered(1)), "starts the refresh that is not written");
    sleep(ms(1_900)).await;
    assert_eq!(get().await, Ok(Numbered(1)));
    assert_eq!(layer.handle().refreshes(), 1);
    sleep(ms(200)).await;
    assert_eq!(get().await, Ok(Numbered(1)), "starts the next refresh");
    settle().await;
    assert_eq!(get().await, Ok(Numbered(3)));
    assert_eq!(layer.handle().refreshes(), 2);
}
