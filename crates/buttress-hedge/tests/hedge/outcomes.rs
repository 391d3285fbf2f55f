//! Which outcome a call returns, and what becomes of the other tries.

use buttress_core::Reason;
use buttress_core::{BoxError, Rejection};
use buttress_hedge::{HedgeSnapshot, WithheldCounts, WithheldReason};
use buttress_testkit::counts;
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt};

use crate::support::{MS, SECOND, by_text, failure, hedging, rejection, script, tokens};

/// HG-05.
#[tokio::test(start_paused = true)]
async fn hedge_that_succeeds_wins_and_the_first_try_is_dropped_before_the_return() {
    let upstream = script().hang().delay(30 * MS).ok(2).service();
    let layer = hedging(50 * MS);
    let mut call = task::spawn(layer.layer(upstream.clone()).oneshot(1));
    assert_pending!(call.poll());
    advance(51 * MS).await;
    assert_pending!(call.poll());
    assert_eq!(upstream.live(), 2);
    advance(31 * MS).await;
    assert!(call.is_woken());
    let polled = call.poll();
    // The future of the call still exists.
    assert_eq!(upstream.live(), 0);
    let std::task::Poll::Ready(Ok(answer)) = polled else { panic!("{polled:?}") };
    assert_eq!(answer, 2);
    let handle = layer.handle();
    let expected = counts!(HedgeSnapshot { calls: 1, sent: 1, won: 1, delay: Some(50 * MS) });
    assert_eq!(handle.snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn first_try_that_succeeds_wins_and_the_hedge_is_dropped_before_the_return() {
    let upstream = script().delay(70 * MS).ok(1).hang().service();
    let layer = hedging(50 * MS);
    let mut call = task::spawn(layer.layer(upstream.clone()).oneshot(1));
    assert_pending!(call.poll());
    advance(51 * MS).await;
    assert_pending!(call.poll());
    advance(20 * MS).await;
    let polled = call.poll();
    assert_eq!(upstream.live(), 0);
    assert!(polled.is_ready());
    assert_eq!((layer.handle().sent(), layer.handle().won()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn permanent_failure_wins_from_any_try() {
    for hedge_fails in [false, true] {
        let upstream = if hedge_fails {
            script().delay(SECOND).ok(1).answer(failure("permanent")).service()
        } else {
            script().delay(60 * MS).answer(failure("permanent")).delay(SECOND).ok(2).service()
        };
        let layer = hedging(50 * MS).classify(by_text);
        let error = layer.layer(upstream.clone()).oneshot(1).await.unwrap_err();
        assert_eq!(error.to_string(), "permanent");
        assert_eq!(layer.handle().won(), u64::from(hedge_fails));
        assert_eq!(upstream.live(), 0);
    }
}

/// tower returns the first completion, also if that is an error.
#[tokio::test(start_paused = true)]
async fn failure_of_a_hedge_does_not_beat_a_later_answer() {
    for text in ["failed", "unknown", "expired", "throttled", "never processed"] {
        let upstream = script().delay(200 * MS).ok(1).answer(failure(text)).service();
        let layer = hedging(10 * MS).classify(by_text);
        assert_eq!(layer.layer(upstream).oneshot(1).await.unwrap(), 1, "{text}");
        assert_eq!(layer.handle().sent(), 1, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn failure_of_the_first_try_waits_for_the_hedge() {
    let upstream = script().delay(60 * MS).answer(failure("failed")).delay(SECOND).ok(2).service();
    assert_eq!(hedging(50 * MS).layer(upstream).oneshot(1).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn outcome_of_the_first_try_is_returned_if_all_fail() {
    let late = script().delay(90 * MS).answer(failure("first")).answer(failure("hedge"));
    let early = script().delay(60 * MS).answer(failure("first"));
    let early = early.delay(90 * MS).answer(failure("hedge"));
    for (script, ends) in [(late, 90), (early, 140)] {
        let (upstream, start) = (script.service(), Instant::now());
        let error = hedging(50 * MS).layer(upstream).oneshot(1).await.unwrap_err();
        assert_eq!(error.to_string(), "first");
        assert_eq!(start.elapsed().as_millis(), ends);
    }
}

/// H1: repeating a fast failure is the job of the retry.
#[tokio::test(start_paused = true)]
async fn failure_before_the_delay_is_returned_at_once() {
    let upstream = script().delay(49 * MS).answer(failure("failed")).ok(2).service();
    let start = Instant::now();
    let layer = hedging(50 * MS);
    let error = layer.layer(upstream.clone()).oneshot(1).await.unwrap_err();
    assert_eq!(error.to_string(), "failed");
    assert_eq!(start.elapsed().as_millis(), 49);
    assert_eq!((upstream.calls(), layer.handle().sent()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn hedge_in_a_race_of_failures_is_followed_by_the_next() {
    let upstream = script().delay(SECOND).ok(1).answer(failure("failed")).times(2).ok(4).service();
    let layer = hedging(50 * MS).at_most(3);
    let start = Instant::now();
    assert_eq!(layer.layer(upstream.clone()).oneshot(1).await.unwrap(), 4);
    assert_eq!(start.elapsed().as_millis(), 150);
    assert_eq!((layer.handle().sent(), layer.handle().won()), (3, 1));
}

/// H6.
#[tokio::test(start_paused = true)]
async fn refused_hedge_ends_the_hedging_and_is_paid_back() {
    for reason in [Reason::Overloaded, Reason::RateLimited, Reason::CircuitOpen] {
        let upstream = script().delay(SECOND).ok(1).reject(rejection(reason)).service();
        let (own, shared) = (tokens(5), tokens(5));
        let layer = hedging(50 * MS).at_most(3).budget(own.clone()).share(shared.clone());
        assert_eq!(layer.layer(upstream.clone()).oneshot(1).await.unwrap(), 1);
        assert_eq!(upstream.calls(), 2, "{reason}");
        assert_eq!((own.balance(), shared.balance()), (Some(5), Some(5)), "{reason}");
        let expected = counts!(HedgeSnapshot {
            calls: 1,
            sent: 1,
            refused: 1,
            delay: Some(50 * MS),
            budget: Some(5),
        });
        assert_eq!(layer.handle().snapshot(), expected, "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn hedge_whose_work_panicked_below_is_not_refused() {
    let upstream = script().delay(SECOND).ok(1).reject(rejection(Reason::Panicked)).service();
    let own = tokens(5);
    let layer = hedging(50 * MS).at_most(2).budget(own.clone());
    assert_eq!(layer.layer(upstream.clone()).oneshot(1).await.unwrap(), 1);
    assert_eq!((layer.handle().refused(), layer.handle().sent()), (0, 2));
    assert_eq!(own.balance(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn rejection_of_the_first_try_does_not_win_over_a_hedge() {
    let rejected = script().delay(60 * MS).reject(rejection(Reason::Overloaded));
    let upstream = rejected.delay(SECOND).ok(2).service();
    let layer = hedging(50 * MS);
    assert_eq!(layer.layer(upstream).oneshot(1).await.unwrap(), 2);
    assert_eq!(layer.handle().refused(), 0);
    let rejected = script().reject(rejection(Reason::Overloaded));
    let error: BoxError = layer.layer(rejected.service()).oneshot(1).await.unwrap_err();
    assert!(Rejection::find(&error).is_some());
}

/// Q4.
#[tokio::test(start_paused = true)]
async fn throttled_try_ends_the_hedging() {
    for text in ["throttled", "never again", "after 61 s"] {
        let upstream = script().delay(SECOND).ok(1).answer(failure(text)).service();
        let layer = hedging(50 * MS).at_most(5).classify(by_text);
        assert_eq!(layer.layer(upstream.clone()).oneshot(1).await.unwrap(), 1);
        assert_eq!(upstream.calls(), 2, "{text}");
        let expected = WithheldCounts::from([(WithheldReason::Throttled, 1)]);
        assert_eq!(layer.handle().snapshot().withheld, expected, "{text}");
    }
}
