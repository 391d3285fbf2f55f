//! Events, counts, headers and bounds of a fleet's rate.

use std::time::Duration;

use buttress_core::{Deadline, Reason};
use buttress_testkit::{Events, FakeStore, Outage};
use buttress_throttle::{Fleet, Rate, ThrottleLayer, WithoutStore};
use tokio::time::{advance, sleep};
use tokio_test::task::spawn;
use tower::{Layer, Service, ServiceExt};

use crate::support::{call, inner, millis, replica, throttled};

/// A24: at most one event in a second, however many buckets were lost.
#[tokio::test(start_paused = true)]
async fn lost_state_is_reported_once_in_a_second() {
    let events = Events::record();
    let store = FakeStore::new();
    let layer = ThrottleLayer::rate(Rate::per_minute(60).burst(60))
        .fleet(Fleet::new(store.clone(), 2).exact())
        .keyed(|number: &u32| Some(*number))
        .named("tenants");
    let call = |key| layer.layer(inner()).oneshot(key);
    for key in (0..20).chain(0..20) {
        assert!(call(key).await.is_ok());
    }
    store.lose_state();
    for key in 0..10 {
        assert!(call(key).await.is_err());
    }
    assert_eq!(layer.handle().fleet().losses, 10);
    assert_eq!(events.count("throttle.state_lost"), 1, "{}", events.log());
    assert_eq!(events.named("throttle.state_lost")[0].field("instance"), Some("tenants"));
    advance(Duration::from_millis(1001)).await;
    store.lose_state();
    for key in 10..20 {
        let _ = call(key).await;
    }
    assert_eq!(events.count("throttle.state_lost"), 2, "{}", events.log());
}

/// A24.
#[tokio::test(start_paused = true)]
async fn each_grant_is_traced() {
    let events = Events::record();
    let store = FakeStore::new();
    let layer = replica(&store, Rate::per_second(10).burst(1), 1).named("orders");
    assert_eq!(call(&layer).await, Ok(()));
    assert!(call(&layer).await.is_err());
    let leased = events.named("throttle.leased");
    let fields: Vec<_> = leased
        .iter()
        .map(|event| (event.field("instance"), event.field("granted"), event.field("want")))
        .collect();
    let of = |granted| (Some("orders"), Some(granted), Some("1"));
    assert_eq!(fields, [of("1"), of("0")]);
}

/// A4: a call that finds 1,024 undecided calls is denied for the pace.
#[tokio::test(start_paused = true)]
async fn no_more_than_1024_calls_wait_for_the_store() {
    let store = FakeStore::new();
    store.set_delay(millis(10));
    let layer = replica(&store, Rate::per_second(1_000_000), 2);
    let mut calls: Vec<_> = (0..1024).map(|_| spawn(throttled(&layer).oneshot(1))).collect();
    for call in &mut calls {
        assert!(call.poll().is_pending());
    }
    assert_eq!(call(&layer).await, Err((Reason::RateLimited, Some(millis(25)))));
    for call in calls {
        assert!(call.await.is_ok());
    }
    assert_eq!(layer.handle().queued(), 0);
}

/// A14: the delay counts the cells of the call, as the last grant left them.
#[tokio::test(start_paused = true)]
async fn retry_delay_is_the_time_until_the_store_can_have_the_cells() {
    let store = FakeStore::new();
    // The store has 18 of the 20 cells.
    let layer = replica(&store, Rate::per_second(10).burst(20), 1);
    let costs = |cost: u32| layer.clone().cost(move |_: &u32| cost);
    assert_eq!(call(&costs(16)).await, Ok(()));
    assert_eq!(call(&costs(7)).await.unwrap_err(), (Reason::RateLimited, Some(millis(500))));
    assert_eq!(call(&costs(9)).await.unwrap_err(), (Reason::RateLimited, Some(millis(700))));
    // A costly call keeps no cheaper call waiting.
    advance(millis(200)).await;
    assert_eq!(call(&costs(2)).await, Ok(()));
}

/// A5: a deadline that is shorter than the trip ends the wait, and the request goes on.
#[tokio::test(start_paused = true)]
async fn cells_of_a_call_whose_deadline_passed_go_to_the_next() {
    let store = FakeStore::new();
    store.set_delay(millis(20));
    let layer = replica(&store, Rate::per_second(1000).burst(500), 1);
    let hurried = Deadline::after(millis(5)).around(call(&layer));
    assert_eq!(hurried.await.unwrap_err().0, Reason::DeadlineExceeded);
    sleep(millis(20)).await;
    assert_eq!(call(&layer).await, Ok(()));
    assert_eq!((store.asks().len(), layer.handle().fleet().away_admitted), (1, 0));
}

/// Chapter 9, item 7: many keys come and go, some of them while the store is away.
#[tokio::test(start_paused = true)]
async fn table_is_empty_after_10_000_keys_have_come_and_gone() {
    let store = FakeStore::new();
    let layer = ThrottleLayer::rate(Rate::per_second(100).burst(4))
        .fleet(Fleet::new(store.clone(), 2).without_store(WithoutStore::FailOpen))
        .keyed(|number: &u32| Some(*number));
    let mut service = layer.layer(inner());
    for key in 0..10_000 {
        if key == 5000 {
            store.begin_outage(Outage::Refused);
        }
        if key == 6000 {
            store.end_outage();
        }
        assert!(service.ready().await.unwrap().call(key).await.is_ok());
        if key % 100 == 0 {
            advance(millis(10)).await;
        }
    }
    for _ in 0..30 {
        layer.handle().keys();
        sleep(millis(110)).await;
    }
    let fleet = layer.handle().fleet();
    assert_eq!((layer.handle().keys(), fleet.debt, fleet.keys_away), (0, 0, 0), "{fleet:?}");
    assert!(fleet.away_admitted >= 1000);
}
