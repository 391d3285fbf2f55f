//! Options of a fleet that change while calls run.

use std::time::Duration;

use buttress_control::Ratio;
use buttress_core::Reason;
use buttress_testkit::{FakeStore, Outage};
use buttress_throttle::{Fleet, FleetOptions, Queue, Rate, ThrottleLayer, WithoutStore};
use tokio::time::Instant;
use tokio_test::task::spawn;
use tower::ServiceExt;

use crate::support::{FleetLayer, call, load, millis, replica, throttled};

fn changed(layer: &FleetLayer, change: impl FnOnce(&mut FleetOptions)) {
    let handle = layer.handle();
    let mut options = handle.fleet_options();
    change(&mut options);
    handle.set_fleet_options(options);
}

#[test]
fn handle_shows_the_options_of_the_fleet() {
    let store = FakeStore::new();
    store.set_time_limit(millis(40));
    let rate = Rate::per_second(100);
    let shown = replica(&store, rate, 12).handle().fleet_options();
    assert_eq!((shown.replicas, shown.reserve), (12, Ratio::percent(20)));
    assert_eq!((shown.lease, shown.exact), (millis(200), false));
    assert_eq!(shown.without_store, WithoutStore::LocalShare);
    assert_eq!(replica(&store, rate, 12).handle().store_time_limit(), millis(40));

    let fleet = Fleet::new(store, 0)
        .reserve(Ratio::percent(101))
        .lease(Duration::MAX)
        .exact()
        .without_store(WithoutStore::FailOpen);
    let layer = ThrottleLayer::rate(rate).fleet(fleet).keyed(|number: &u32| Some(*number));
    let shown = layer.handle().fleet_options();
    assert_eq!((shown.replicas, shown.reserve), (1, Ratio::percent(100)));
    assert_eq!((shown.lease, shown.exact), (Duration::from_secs(3600), true));
    assert_eq!(shown.without_store, WithoutStore::FailOpen);
    assert_eq!(layer.handle().store_time_limit(), millis(40));
}

#[test]
fn options_are_those_that_were_set_last() {
    let layer = replica(&FakeStore::new(), Rate::per_second(100), 4);
    let handle = layer.handle();
    let built = handle.fleet_options();
    changed(&layer, |options| {
        options.replicas = 8;
        options.reserve = Ratio::percent(10);
        options.lease = millis(400);
        options.exact = true;
        options.without_store = WithoutStore::FailClosed;
    });
    let set = handle.fleet_options();
    assert_eq!((set.replicas, set.reserve), (8, Ratio::percent(10)));
    assert_eq!((set.lease, set.exact), (millis(400), true));
    assert_eq!(set.without_store, WithoutStore::FailClosed);
    handle.set_rate(Rate::per_second(50));
    assert_eq!(handle.fleet_options(), set, "another rate leaves them as they are");
    handle.set_fleet_options(built);
    assert_eq!(handle.fleet_options(), built);
}

#[tokio::test(start_paused = true)]
async fn fleet_that_becomes_exact_asks_for_each_call_once_the_held_cells_are_spent() {
    let store = FakeStore::new();
    let layer = replica(&store, Rate::per_second(10_000), 1);
    load(std::slice::from_ref(&layer), 5, millis(100)).await;
    let held = layer.handle().tokens();
    assert!(held > 1, "{held}");
    changed(&layer, |options| options.reserve = Ratio::ZERO);
    let trips = layer.handle().fleet().trips;
    for _ in 0..held {
        assert_eq!(call(&layer).await, Ok(()));
    }
    let of_held = layer.handle().fleet().trips - trips;
    for _ in 0..20 {
        assert_eq!(call(&layer).await, Ok(()));
    }
    assert_eq!((of_held, layer.handle().fleet().trips - trips), (0, 20));
    changed(&layer, |options| options.reserve = Ratio::percent(20));
    load(std::slice::from_ref(&layer), 5, millis(100)).await;
    assert!(layer.handle().tokens() > 1, "cells are held ahead again");
}

#[tokio::test(start_paused = true)]
async fn share_without_the_store_is_that_of_the_replicas_set_last() {
    let store = FakeStore::new();
    store.begin_outage(Outage::Refused);
    let layer = replica(&store, Rate::per_second(100).burst(40), 4);
    let admitted = load(std::slice::from_ref(&layer), 1, millis(401)).await;
    assert_eq!(admitted, 20, "a burst of 10, and 25 in each second");
    changed(&layer, |options| options.replicas = 10);
    let admitted = load(std::slice::from_ref(&layer), 1, millis(1001)).await;
    assert_eq!(admitted, 10, "10 in each second");
}

#[tokio::test(start_paused = true)]
async fn policy_decides_from_the_next_call_on_and_also_the_calls_that_wait() {
    let store = FakeStore::new();
    store.begin_outage(Outage::Refused);
    let layer = replica(&store, Rate::per_second(1).burst(4), 4).queue(Queue::new(5));
    assert_eq!(call(&layer).await, Ok(()));
    let mut waiting = spawn(throttled(&layer).oneshot(1));
    assert!(waiting.poll().is_pending());
    let start = Instant::now();
    changed(&layer, |options| options.without_store = WithoutStore::FailClosed);
    assert!(waiting.is_woken());
    assert_eq!(waiting.await.unwrap_err().reason(), Reason::Overloaded);
    assert_eq!(call(&layer).await.unwrap_err().0, Reason::Overloaded);
    changed(&layer, |options| options.without_store = WithoutStore::FailOpen);
    assert_eq!(call(&layer).await, Ok(()));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(layer.handle().fleet().away_admitted, 2);
}

#[tokio::test(start_paused = true)]
async fn options_reach_the_keys_in_use_and_later_keys() {
    let store = FakeStore::new();
    store.begin_outage(Outage::Refused);
    let layer = ThrottleLayer::rate(Rate::per_second(100))
        .fleet(Fleet::new(store.clone(), 4))
        .keyed(|number: &u32| Some(*number));
    let service = tower::Layer::layer(&layer, crate::support::inner());
    let call = |key| service.clone().oneshot(key);
    assert!(call(1).await.is_ok());
    let handle = layer.handle();
    let mut options = handle.fleet_options();
    options.without_store = WithoutStore::FailClosed;
    handle.set_fleet_options(options);
    for key in [1, 2] {
        assert_eq!(call(key).await.unwrap_err().reason(), Reason::Overloaded, "{key}");
        let key = handle.for_key(&key).unwrap();
        assert_eq!(key.fleet_options().without_store, WithoutStore::FailClosed);
    }
}

/// A changed reserve adds at most the cells that are held then.
#[tokio::test(start_paused = true)]
async fn changed_options_admit_no_more_than_the_burst_and_the_cells_held_before() {
    let store = FakeStore::new();
    let rate = Rate::per_second(8000).burst(1000);
    let layers: Vec<_> = (0..3).map(|_| replica(&store, rate, 3)).collect();
    load(&layers, 1, Duration::from_secs(1)).await;
    let held: u64 = layers.iter().map(|layer| u64::from(layer.handle().tokens())).sum();
    assert!((6..=200).contains(&held), "{held}");
    for layer in &layers {
        changed(layer, |options| options.reserve = Ratio::ZERO);
    }
    // At one time, all that the fleet admits.
    let mut admitted = 0;
    for layer in &layers {
        while call(layer).await.is_ok() {
            admitted += 1;
        }
    }
    assert!((1000..=1000 + held).contains(&admitted), "{admitted} with {held}");
}
