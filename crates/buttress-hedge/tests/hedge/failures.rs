//! Hedges after failures, and the hints of the service.

use std::time::Duration;

use buttress_core::{Attempt, BoxError, Deadline, Reason, Signals, Verdict};
use buttress_deadline::DeadlineLayer;
use buttress_hedge::{Budget, HedgeLayer, WithheldCounts, WithheldReason};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

use crate::support::{
    MS, SECOND, Upstream, by_text, failure, hedging, rejection, script, times, tokens,
};

const DELAY: Duration = Duration::from_millis(100);

/// A layer with gRPC's behaviour.
fn grpc(hedges: u32) -> HedgeLayer {
    hedging(DELAY).at_most(hedges).after_failures()
}

/// The outcome of a call as text, and the times of its tries.
async fn run(layer: HedgeLayer, upstream: Upstream) -> (String, Vec<u128>) {
    let call = layer.classify(by_text).layer(upstream.clone()).oneshot(1);
    let outcome = timeout(3600 * SECOND, call).await.unwrap();
    let text = outcome.map_or_else(|error| error.to_string(), |answer| answer.to_string());
    assert_eq!(upstream.live(), 0);
    (text, times(&upstream))
}

#[tokio::test(start_paused = true)]
async fn failure_sends_the_next_hedge_at_once_until_at_most() {
    let upstream = script().delay(30 * MS).answer(failure("failed")).service();
    assert_eq!(run(grpc(3), upstream).await, ("failed".to_owned(), vec![0, 30, 60, 90]));
    let upstream = script().answer(failure("failed")).times(3).ok(4).service();
    assert_eq!(run(grpc(3), upstream).await, ("4".to_owned(), vec![0, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn hedge_after_a_failure_is_followed_one_delay_later() {
    let upstream = script().delay(30 * MS).answer(failure("failed")).hang().times(2);
    let upstream = upstream.ok(4).service();
    assert_eq!(run(grpc(3), upstream).await, ("4".to_owned(), vec![0, 30, 130, 230]));
}

/// HG-03: an infinite delay is strictly one at a time.
#[tokio::test(start_paused = true)]
async fn delay_of_thirty_years_makes_one_try_at_a_time_after_failures() {
    let upstream = script().delay(SECOND).answer(failure("failed")).times(2).ok(3).service();
    let layer = hedging(Duration::MAX).at_most(3).after_failures();
    assert_eq!(run(layer, upstream).await, ("3".to_owned(), vec![0, 1000, 2000]));
}

#[tokio::test(start_paused = true)]
async fn failure_that_must_not_be_repeated_sends_no_hedge() {
    for text in ["permanent", "expired", "unknown"] {
        let upstream = script().delay(30 * MS).answer(failure(text)).ok(2).service();
        assert_eq!(run(grpc(3), upstream).await, (text.to_owned(), vec![0]));
    }
    let upstream = script().answer(failure("never processed")).ok(2).service();
    assert_eq!(run(grpc(3), upstream).await, ("2".to_owned(), vec![0, 0]));
    let upstream = script().reject(rejection(Reason::Overloaded)).ok(2).service();
    let (text, times) = run(grpc(3), upstream).await;
    assert_eq!((text.as_str(), times), ("throttle: overloaded", vec![0]));
}

#[tokio::test(start_paused = true)]
async fn retry_that_gave_up_below_is_not_followed_by_a_hedge() {
    let service = service_fn(|_: u32| async {
        Signals::raise_gave_up();
        Err::<u32, BoxError>("failed".into())
    });
    let layer = grpc(3);
    layer.layer(service).oneshot(1).await.unwrap_err();
    assert_eq!(layer.handle().sent(), 0);
}

/// The hedge ends at 120 ms, and the first try at 150 ms. A second hedge would be due at 200 ms.
#[tokio::test(start_paused = true)]
async fn last_failure_that_must_not_be_repeated_ends_the_call() {
    for text in ["expired", "unknown"] {
        let upstream = script().delay(150 * MS).answer(failure("failed"));
        let upstream = upstream.delay(20 * MS).answer(failure(text)).ok(3).service();
        // The failure of the first try may be repeated, and is the last.
        assert_eq!(run(grpc(3), upstream).await, ("3".to_owned(), vec![0, 100, 150]));
        let upstream = script().delay(150 * MS).answer(failure(text));
        let upstream = upstream.delay(20 * MS).answer(failure(text)).ok(3).service();
        let start = Instant::now();
        assert_eq!(run(grpc(3), upstream).await, (text.to_owned(), vec![0, 100]));
        assert_eq!(start.elapsed().as_millis(), 150);
    }
    let service = service_fn(|_: u32| async {
        let is_hedge = Attempt::current().is_spare();
        sleep(if is_hedge { 20 * MS } else { 150 * MS }).await;
        Signals::raise_gave_up();
        Err::<u32, BoxError>("failed".into())
    });
    let layer = grpc(3);
    layer.layer(service).oneshot(1).await.unwrap_err();
    assert_eq!(layer.handle().sent(), 1);
}

#[tokio::test(start_paused = true)]
async fn failure_is_returned_if_the_budget_pays_for_no_hedge() {
    let layer = grpc(3).budget(tokens(1));
    let upstream = script().delay(30 * MS).answer(failure("failed")).service();
    assert_eq!(run(layer.clone(), upstream).await, ("failed".to_owned(), vec![0, 30]));
    let expected = WithheldCounts::from([(WithheldReason::BudgetEmpty, 1)]);
    assert_eq!(layer.handle().snapshot().withheld, expected);
}

/// PB-07.
#[tokio::test(start_paused = true)]
async fn pushback_sets_the_time_of_the_next_hedge_and_the_later_follow_one_delay_apart() {
    for text in ["after 300 ms", "after 300 ms or more"] {
        // The first try fails alone.
        let upstream = script().delay(50 * MS).answer(failure(text)).hang().times(2);
        let upstream = upstream.ok(4).service();
        assert_eq!(run(grpc(3), upstream).await, ("4".to_owned(), vec![0, 350, 450, 550]));
        // A hedge fails beside the first try, with and without `after_failures`.
        for layer in [hedging(DELAY).at_most(3), grpc(3)] {
            let upstream = script().hang().delay(20 * MS).answer(failure(text));
            let upstream = upstream.hang().ok(4).service();
            assert_eq!(run(layer, upstream).await, ("4".to_owned(), vec![0, 100, 420, 520]));
        }
    }
}

/// PB-07.
#[tokio::test(start_paused = true)]
async fn negative_pushback_stops_hedging_and_a_running_try_may_win() {
    for text in ["never again", "throttled"] {
        let upstream = script().delay(SECOND).ok(1).answer(failure(text)).service();
        assert_eq!(run(grpc(3), upstream).await, ("1".to_owned(), vec![0, 100]));
        let upstream = script().delay(150 * MS).answer(failure(text)).delay(SECOND).ok(2);
        assert_eq!(run(grpc(3), upstream.service()).await, ("2".to_owned(), vec![0, 100]));
        let upstream = script().delay(50 * MS).answer(failure(text)).service();
        let layer = grpc(3);
        assert_eq!(run(layer.clone(), upstream).await, (text.to_owned(), vec![0]));
        assert_eq!(layer.handle().withheld(WithheldReason::Throttled), 1);
    }
}

/// H1: without `after_failures` a failure is returned, also if the service names a time.
#[tokio::test(start_paused = true)]
async fn throttled_first_try_is_returned_before_the_delay() {
    let upstream = script().answer(failure("after 300 ms")).ok(2).service();
    let layer = hedging(DELAY);
    assert_eq!(run(layer.clone(), upstream).await, ("after 300 ms".to_owned(), vec![0]));
    assert_eq!(layer.handle().withheld(WithheldReason::Throttled), 0);
}

#[tokio::test(start_paused = true)]
async fn pushback_that_does_not_fit_stops_hedging() {
    let upstream = script().answer(failure("after 61 s")).ok(2).service();
    assert_eq!(run(grpc(3), upstream).await, ("after 61 s".to_owned(), vec![0]));
    let upstream = script().answer(failure("after 300 ms")).ok(2).service();
    let layer = grpc(3);
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(300 * MS))
        .layer(layer.clone().classify(by_text))
        .service(upstream.clone());
    assert_eq!(stack.oneshot(1).await.unwrap_err().to_string(), "after 300 ms");
    assert_eq!((upstream.calls(), layer.handle().withheld(WithheldReason::Throttled)), (1, 1));
    // With a deadline, a longer wait than 60 s fits.
    let upstream = script().answer(failure("after 61 s")).ok(2).service();
    let limit = Deadline::after(100 * SECOND);
    let call = grpc(3).classify(by_text).layer(upstream.clone()).oneshot(1);
    assert_eq!(limit.around(call).await.unwrap(), 2);
    assert_eq!(times(&upstream), [0, 61_000]);
}

#[tokio::test(start_paused = true)]
async fn pushback_replaces_a_hedge_that_waits_for_readiness() {
    // Two permits: the first try and the first hedge hold them, and the second hedge waits.
    let upstream = script().delay(SECOND).ok(1).delay(150 * MS).answer(failure("after 300 ms"));
    let upstream = upstream.ok(3).service();
    let own = tokens(9);
    let layer = hedging(DELAY).at_most(2).budget(own.clone()).classify(by_text);
    let stack = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(ConcurrencyLimitLayer::new(2))
        .service(upstream.clone());
    assert_eq!(stack.oneshot(1).await.unwrap(), 3);
    assert_eq!(times(&upstream), [0, 100, 550]);
    assert_eq!(own.balance(), Some(7));
}

#[tokio::test(start_paused = true)]
async fn failure_is_returned_at_the_deadline_if_the_service_does_not_become_ready() {
    // The only permit is held by a call that hangs.
    let upstream = script().delay(30 * MS).answer(failure("failed")).hang().service();
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(SECOND))
        .layer(grpc(3))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(upstream.clone());
    let mut first = tokio_test::task::spawn(stack.clone().oneshot(1));
    tokio_test::assert_pending!(first.poll());
    // The second caller waits in line, and gets the permit before the hedge.
    let mut second = tokio_test::task::spawn(stack.oneshot(2));
    tokio_test::assert_pending!(second.poll());
    let start = Instant::now();
    tokio::time::sleep(31 * MS).await;
    tokio_test::assert_pending!(first.poll());
    tokio_test::assert_pending!(second.poll());
    let error = first.await.unwrap_err();
    assert_eq!(error.to_string(), "failed");
    assert_eq!(start.elapsed().as_millis(), 1000);
    drop(second);
    assert_eq!(upstream.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn timed_out_attempt_sends_the_next_hedge() {
    let upstream = script().hang().ok(2).service();
    let stack = ServiceBuilder::new()
        .layer(HedgeLayer::after(SECOND).budget(Budget::unlimited()).after_failures())
        .layer(DeadlineLayer::new(30 * MS))
        .service(upstream.clone());
    assert_eq!(stack.oneshot(1).await.unwrap(), 2);
    assert_eq!(times(&upstream), [0, 30]);
}

#[tokio::test(start_paused = true)]
async fn classifier_of_the_user_decides_which_outcome_wins() {
    let classify = |outcome: Result<&u32, &BoxError>| match outcome {
        Ok(1) => Verdict::Transient,
        _ => Verdict::Success,
    };
    let upstream = script().ok(1).ok(2).service();
    let layer = grpc(1).classify(classify);
    assert_eq!(layer.layer(upstream).oneshot(1).await.unwrap(), 2);
}
