//! A rate of the fleet for each key.

use std::time::Duration;

use buttress_core::Reason;
use buttress_testkit::{FakeStore, Outage};
use buttress_throttle::{Fleet, Rate, ThrottleLayer, WithoutStore};
use tokio::time::{advance, sleep};
use tower::{Layer, Service, ServiceExt};

use crate::support::{inner, millis};

fn fleet(store: &FakeStore) -> Fleet {
    Fleet::new(store.clone(), 2)
}

/// Makes a call of a number, whose key it is.
macro_rules! call {
    ($layer:expr, $number:expr) => {{
        let mut service = $layer.layer(inner());
        service.ready().await.unwrap().call($number).await.map_err(|rejection| rejection.reason())
    }};
}

macro_rules! keyed {
    ($store:expr, $rate:expr) => {
        ThrottleLayer::rate($rate)
            .fleet(fleet(&$store))
            .keyed(|number: &u32| Some(*number))
            .named("tenants")
    };
}

/// A21: replicas that serve the same key share its rate.
#[tokio::test(start_paused = true)]
async fn replicas_share_the_rate_of_each_key() {
    let store = FakeStore::new();
    let rate = Rate::per_second(10).burst(2);
    let (one, other) = (keyed!(store, rate), keyed!(store, rate));
    for key in [7, 8] {
        assert!(call!(one, key).is_ok());
        assert!(call!(other, key).is_ok());
        assert_eq!(call!(one, key), Err(Reason::RateLimited));
        assert_eq!(call!(other, key), Err(Reason::RateLimited));
    }
    let keys: std::collections::HashSet<_> = store.asks().into_iter().map(|ask| ask.key).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(one.handle().keys(), 2);
}

#[tokio::test(start_paused = true)]
async fn key_for_the_store_is_the_name_and_the_key() {
    let store = FakeStore::new();
    let layer = keyed!(store, Rate::per_second(10));
    assert!(call!(layer, 258).is_ok());
    assert_eq!(&*store.asks()[0].key, buttress_state::quota_key("tenants", Some(&258_u32)));
}

/// A18: keys beyond the maximum share a rate, also with other replicas.
#[tokio::test(start_paused = true)]
async fn keys_without_room_share_a_rate() {
    let store = FakeStore::new();
    let rate = Rate::per_second(10).burst(2);
    let (one, other) = (keyed!(store, rate).max_keys(0), keyed!(store, rate).max_keys(0));
    assert!(call!(one, 1).is_ok());
    assert!(call!(other, 2).is_ok());
    assert_eq!(call!(one, 3), Err(Reason::RateLimited));
    assert_eq!(&*store.asks()[0].key, buttress_state::quota_key::<u32>("tenants", None));
}

/// A18: a key is dropped once nothing is held, owed or expected. So no key gets a second burst.
#[tokio::test(start_paused = true)]
async fn idle_keys_are_dropped_and_keys_with_a_debt_are_not() {
    let store = FakeStore::new();
    let layer = keyed!(store, Rate::per_second(100).burst(10));
    for key in 0..1000 {
        assert!(call!(layer, key).is_ok());
    }
    assert_eq!(layer.handle().keys(), 1000);
    advance(millis(300)).await;
    assert_eq!(layer.handle().keys(), 0);
    store.begin_outage(Outage::Refused);
    for key in 0..10 {
        assert!(call!(layer, key).is_ok());
    }
    advance(Duration::from_secs(3600)).await;
    assert_eq!(layer.handle().keys(), 10);
    assert_eq!((layer.handle().fleet().debt, layer.handle().fleet().keys_away), (10, 10));
    store.end_outage();
    // The look at the keys has asked the store, in vain. It is not asked again for 100 ms.
    sleep(millis(101)).await;
    for key in 0..10 {
        assert!(call!(layer, key).is_ok());
    }
    sleep(millis(300)).await;
    assert_eq!(layer.handle().fleet().debt, 0);
    assert_eq!((layer.handle().keys(), layer.handle().fleet().keys_away), (0, 0));
}

/// A key that is away without a debt can be dropped, and counts as away no longer.
#[tokio::test(start_paused = true)]
async fn dropped_key_is_away_no_longer() {
    let store = FakeStore::new();
    store.begin_outage(Outage::Refused);
    let layer = ThrottleLayer::rate(Rate::per_second(100))
        .fleet(fleet(&store).without_store(WithoutStore::FailClosed))
        .keyed(|number: &u32| Some(*number));
    assert_eq!(call!(layer, 1), Err(Reason::Overloaded));
    assert_eq!(layer.handle().fleet().keys_away, 1);
    assert_eq!((layer.handle().keys(), layer.handle().fleet().keys_away), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn rate_of_all_keys_is_changed_by_the_handle() {
    let store = FakeStore::new();
    let layer = keyed!(store, Rate::per_second(10).burst(1));
    assert!(call!(layer, 1).is_ok());
    layer.handle().set_rate(Rate::per_second(1000).burst(100));
    assert_eq!(layer.handle().rates(), [Rate::per_second(1000).burst(100)]);
    for key in [1, 2] {
        for _ in 0..50 {
            assert!(call!(layer, key).is_ok(), "key {key}");
        }
    }
}
