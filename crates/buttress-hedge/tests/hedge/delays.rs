//! When hedges are sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress_core::{Attempt, BoxError, Deadline};
use buttress_deadline::DeadlineLayer;
use buttress_hedge::{Budget, HedgeLayer, HedgeSnapshot, Ratio, WithheldReason};
use buttress_testkit::counts;
use tokio::time::{advance, sleep, timeout};
use tokio_test::{assert_pending, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{MS, SECOND, hedging, script, times};

/// HG-01.
#[tokio::test(start_paused = true)]
async fn hedges_are_sent_one_delay_apart_up_to_at_most_and_the_deadline_ends_all() {
    let upstream = script().hang().service();
    let layer = hedging(500 * MS).at_most(3);
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(5 * SECOND))
        .layer(layer.clone())
        .service(upstream.clone());
    let mut call = task::spawn(stack.oneshot(1));
    for (step, in_flight) in [(1, 1), (500, 2), (500, 3), (500, 4), (3498, 4)] {
        advance(Duration::from_millis(step)).await;
        assert_pending!(call.poll());
        assert_eq!(upstream.live(), in_flight);
    }
    advance(2 * MS).await;
    assert!(call.is_woken());
    assert!(call.poll().is_ready(), "the deadline ends the call");
    assert_eq!(upstream.live(), 0);
    assert_eq!(times(&upstream), [1, 501, 1001, 1501]);
    assert_eq!(layer.handle().sent(), 3);
}

#[tokio::test(start_paused = true)]
async fn tries_are_sent_at_multiples_of_the_delay() {
    let upstream = script().hang().service();
    let call = hedging(500 * MS).at_most(3).layer(upstream.clone()).oneshot(1);
    assert!(timeout(10 * SECOND, call).await.is_err());
    assert_eq!(times(&upstream), [0, 500, 1000, 1500]);
}

/// HG-03.
#[tokio::test(start_paused = true)]
async fn zero_delay_sends_all_tries_in_the_first_pending_poll() {
    let upstream = script().hang().service();
    let mut call =
        task::spawn(hedging(Duration::ZERO).at_most(3).layer(upstream.clone()).oneshot(1));
    assert_pending!(call.poll());
    assert_eq!(upstream.live(), 4);
    advance(SECOND).await;
    assert_pending!(call.poll());
    assert_eq!(upstream.calls(), 4);
}

/// HG-03.
#[tokio::test(start_paused = true)]
async fn delay_of_thirty_years_sends_no_hedge() {
    for delay in [Deadline::NEVER, Duration::MAX] {
        let upstream = script().delay(9 * 365 * 24 * 3600 * SECOND).ok(1).service();
        let layer = hedging(delay);
        let call = layer.layer(upstream.clone()).oneshot(1);
        assert_eq!(call.await.unwrap(), 1);
        assert_eq!(upstream.calls(), 1);
        assert_eq!(layer.handle().delay(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_is_answered_at_once_is_not_hedged() {
    let upstream = script().ok(1).service();
    let layer = hedging(Duration::ZERO).at_most(9);
    assert_eq!(layer.layer(upstream.clone()).oneshot(1).await.unwrap(), 1);
    assert_eq!(upstream.calls(), 1);
    let expected = counts!(HedgeSnapshot { calls: 1, delay: Some(Duration::ZERO) });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn answer_at_the_instant_of_the_delay_wins() {
    let upstream = script().delay(50 * MS).ok(1).service();
    assert_eq!(hedging(50 * MS).layer(upstream.clone()).oneshot(1).await.unwrap(), 1);
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn fixed_delay_counts_from_the_first_pending_poll() {
    let upstream = script().hang().service();
    let mut service = hedging(50 * MS).layer(upstream.clone());
    let mut call = task::spawn(service.ready().await.unwrap().call(1));
    advance(SECOND).await;
    assert_pending!(call.poll());
    advance(49 * MS).await;
    assert_pending!(call.poll());
    assert_eq!(upstream.calls(), 1);
    advance(2 * MS).await;
    assert!(call.is_woken());
    assert_pending!(call.poll());
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn hedge_is_the_next_attempt_and_spare() {
    let upstream = script().hang().service();
    let service = hedging(50 * MS).at_most(2).layer(upstream.clone());
    let first = Attempt::FIRST.next();
    let mut call = task::spawn(service.oneshot(1));
    for _ in 0..3 {
        assert_pending!(first.with(|| call.poll()));
        advance(51 * MS).await;
    }
    let attempts: Vec<_> = upstream.received().iter().map(|call| call.attempt).collect();
    assert_eq!(attempts, [first, first.next().spare(), first.next().next().spare()]);
    assert_eq!(Attempt::current(), Attempt::FIRST);
}

#[tokio::test(start_paused = true)]
async fn hedge_of_an_outer_layer_is_not_hedged_again() {
    let upstream = script().hang().service();
    let (outer, inner) = (hedging(50 * MS), hedging(50 * MS).at_most(3));
    let stack = ServiceBuilder::new().layer(outer).layer(inner).service(upstream.clone());
    assert!(timeout(SECOND, stack.oneshot(1)).await.is_err());
    // The first try and its three hedges, and the outer hedge.
    assert_eq!(upstream.calls(), 5);
}

/// A request that counts its clones.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

async fn slow(_: Counted) -> Result<(), BoxError> {
    sleep(SECOND).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn layer_that_can_send_no_hedge_does_not_clone_the_request() {
    let unlimited = Budget::unlimited();
    let off = hedging(MS).at_most(0);
    let never = hedging(Duration::MAX);
    let unknown = HedgeLayer::learned().budget(unlimited);
    for layer in [off, never, unknown] {
        let request = Counted(Arc::default());
        let clones = Arc::clone(&request.0);
        layer.layer(service_fn(slow)).oneshot(request).await.unwrap();
        assert_eq!(clones.load(Ordering::Relaxed), 0, "{layer:?}");
        assert_eq!(layer.handle().snapshot().sent, 0);
        assert_eq!(layer.handle().calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn skipped_request_passes_through() {
    let request = Counted(Arc::default());
    let clones = Arc::clone(&request.0);
    let budget = Budget::new(Ratio::percent(100), 0);
    let layer = HedgeLayer::after(MS).budget(budget.clone()).skip(|_: &Counted| true);
    layer.layer(service_fn(slow)).oneshot(request).await.unwrap();
    assert_eq!(clones.load(Ordering::Relaxed), 0);
    assert_eq!(budget.balance(), Some(0), "a skipped call earns nothing");
    let expected = counts!(HedgeSnapshot { calls: 1, delay: Some(MS), budget: Some(0) });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn more_than_a_hundred_hedges_count_as_a_hundred() {
    let upstream = script().hang().service();
    let service = hedging(Duration::ZERO).at_most(u32::MAX).layer(upstream.clone());
    let mut call = task::spawn(service.oneshot(1));
    assert_pending!(call.poll());
    assert_eq!(upstream.live(), 101);
    drop(call);
    assert_eq!(upstream.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn hedge_that_would_come_after_the_deadline_is_withheld() {
    let upstream = script().delay(80 * MS).ok(1).service();
    let layer = hedging(100 * MS).at_most(3);
    let handle = layer.handle();
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(100 * MS))
        .layer(layer.clone())
        .service(upstream.clone());
    assert_eq!(stack.oneshot(1).await.unwrap(), 1);
    assert_eq!(handle.withheld(WithheldReason::Deadline), 1);
    // Two hedges come in time, the third would not.
    let upstream = script().delay(240 * MS).ok(1).service();
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(250 * MS).until_head())
        .layer(layer)
        .service(upstream.clone());
    assert_eq!(stack.oneshot(1).await.unwrap(), 1);
    assert_eq!(times(&upstream), [0, 100, 200]);
    assert_eq!(handle.withheld(WithheldReason::Deadline), 2);
}
