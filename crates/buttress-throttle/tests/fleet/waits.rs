//! Calls that wait in the queue while the store denies, is away, or is back.

use std::time::Duration;

use buttress_core::Reason;
use buttress_testkit::{FakeStore, Outage};
use buttress_throttle::{Fleet, Queue, Rate, ThrottleLayer, WithoutStore};
use tokio::time::{Instant, advance, sleep};
use tokio_test::task::spawn;
use tower::ServiceExt;

use crate::support::{FleetLayer, call, millis, throttled};

fn layer(store: &FakeStore, rate: Rate, policy: WithoutStore) -> FleetLayer {
    ThrottleLayer::rate(rate).fleet(Fleet::new(store.clone(), 4).without_store(policy))
}

/// A13: a call that comes while the store denies is decided by the store, and not by the policy.
#[tokio::test(start_paused = true)]
async fn call_that_comes_during_a_denial_waits_for_the_store() {
    for policy in [WithoutStore::LocalShare, WithoutStore::FailOpen, WithoutStore::FailClosed] {
        let store = FakeStore::new();
        store.set_delay(millis(4));
        let layer = layer(&store, Rate::per_second(10).burst(1), policy).queue(10);
        assert_eq!(call(&layer).await, Ok(()));
        let mut calls: Vec<_> = (0..4).map(|_| spawn(throttled(&layer).oneshot(1))).collect();
        for call in &mut calls {
            assert!(call.poll().is_pending());
            sleep(millis(13)).await;
        }
        let start = Instant::now();
        for call in calls {
            assert!(call.await.is_ok(), "{policy:?}");
        }
        assert!(start.elapsed() >= millis(340), "{policy:?} {:?}", start.elapsed());
        assert_eq!(layer.handle().fleet().away_admitted, 0, "{policy:?}");
    }
}

/// A19: a raised rate asks the store at once, also for calls that have waited for long.
#[tokio::test(start_paused = true)]
async fn raised_rate_asks_the_store_for_waiting_calls() {
    for rate in [Rate::per_second(0), Rate::per_hour(1).burst(1)] {
        let store = FakeStore::new();
        store.set_delay(millis(4));
        let layer = layer(&store, rate, WithoutStore::FailClosed).queue(10);
        let _ = spawn(throttled(&layer).oneshot(1)).poll();
        sleep(millis(30)).await;
        let mut calls: Vec<_> = (0..4).map(|_| spawn(throttled(&layer).oneshot(1))).collect();
        for call in &mut calls {
            assert!(call.poll().is_pending(), "{rate:?}");
        }
        sleep(Duration::from_secs(60)).await;
        layer.handle().set_rate(Rate::per_second(1000).burst(500));
        let start = Instant::now();
        for call in calls {
            assert!(call.await.is_ok(), "{rate:?}");
        }
        assert!(start.elapsed() <= millis(60), "{rate:?} {:?}", start.elapsed());
        assert_eq!(layer.handle().fleet().errors, [0; 4]);
    }
}

/// A19: a raised rate ends a denial by the former rate.
#[tokio::test(start_paused = true)]
async fn raised_rate_ends_a_denial_of_the_former_rate() {
    let store = FakeStore::new();
    let layer = layer(&store, Rate::per_hour(1).burst(1), WithoutStore::LocalShare);
    assert_eq!(call(&layer).await, Ok(()));
    assert_eq!(call(&layer).await.unwrap_err().0, Reason::RateLimited);
    layer.handle().set_rate(Rate::per_second(1000).burst(500));
    advance(millis(30)).await;
    assert_eq!(call(&layer).await, Ok(()));
}

/// L5: calls that waited for the share are decided by the store once the store is back.
#[tokio::test(start_paused = true)]
async fn calls_that_waited_for_the_share_are_decided_by_the_returned_store() {
    let store = FakeStore::new();
    store.set_delay(millis(4));
    let layer =
        layer(&store, Rate::per_second(8).burst(4), WithoutStore::LocalShare).queue(Queue::new(10));
    store.begin_outage(Outage::Refused);
    assert_eq!(call(&layer).await, Ok(()));
    let mut calls: Vec<_> = (0..4).map(|_| spawn(throttled(&layer).oneshot(1))).collect();
    for call in &mut calls {
        assert!(call.poll().is_pending());
    }
    sleep(millis(50)).await;
    store.end_outage();
    sleep(millis(100)).await;
    // Something must ask: a call, or the timer of the share.
    let last = throttled(&layer).oneshot(1);
    for call in calls {
        assert!(call.await.is_ok());
    }
    assert!(last.await.is_ok());
    let fleet = layer.handle().fleet();
    assert_eq!((fleet.debt, fleet.keys_away), (0, 0));
    assert!(fleet.away_admitted <= 2, "{fleet:?}");
}

/// A4, A13: with a queue, calls beyond the burst wait while the store decides those before.
#[tokio::test(start_paused = true)]
async fn queue_takes_calls_beyond_the_burst_while_the_store_decides() {
    let store = FakeStore::new();
    store.set_delay(millis(4));
    let layer = layer(&store, Rate::per_second(100).burst(5), WithoutStore::LocalShare).queue(6);
    let mut calls: Vec<_> = (0..11).map(|_| spawn(throttled(&layer).oneshot(1))).collect();
    for call in &mut calls {
        assert!(call.poll().is_pending());
    }
    assert_eq!(call(&layer).await.unwrap_err().0, Reason::RateLimited, "the queue is full");
    for call in calls {
        assert!(call.await.is_ok());
    }
}

/// L3: with and without a queue.
#[tokio::test(start_paused = true)]
async fn call_that_costs_more_than_the_share_is_refused_for_the_store() {
    for queue in [0, 5] {
        let store = FakeStore::new();
        store.begin_outage(Outage::Refused);
        let layer = layer(&store, Rate::per_second(100).burst(40), WithoutStore::LocalShare)
            .queue(queue)
            .cost(|_: &u32| 11_u32);
        assert_eq!(call(&layer).await, Err((Reason::Overloaded, Some(millis(100)))), "{queue}");
        assert_eq!(call(&layer).await, Err((Reason::Overloaded, Some(millis(100)))), "{queue}");
    }
}
