//! The rates of a fleet: several, changed, shared by name, and the edge values.

use std::time::Duration;

use buttress_core::Reason;
use buttress_testkit::FakeStore;
use buttress_throttle::{Fleet, Rate, Rates, ThrottleLayer};
use tokio::time::advance;

use crate::support::{call, millis, replica};

/// Several rates: the store takes of all or of none, and the tightest decides.
#[tokio::test(start_paused = true)]
async fn several_rates_of_a_fleet_grant_together_or_not_at_all() {
    let store = FakeStore::new();
    let rates = Rates::new(Rate::per_second(2)).and(Rate::per_minute(3));
    let replica = || ThrottleLayer::rates(rates.fresh()).fleet(Fleet::new(store.clone(), 2));
    let (one, other) = (replica(), replica());
    assert_eq!(call(&one).await, Ok(()));
    assert_eq!(call(&other).await, Ok(()));
    assert_eq!(call(&one).await.unwrap_err(), (Reason::RateLimited, Some(millis(500))));
    advance(Duration::from_secs(1)).await;
    assert_eq!(call(&other).await, Ok(()));
    let denied = call(&one).await.unwrap_err();
    assert_eq!(denied, (Reason::RateLimited, Some(Duration::from_secs(19))));
    assert_eq!(store.buckets(), 2);
}

/// A19: a changed rate is asked for from the next request on.
#[tokio::test(start_paused = true)]
async fn changed_rate_counts_from_the_next_request_on() {
    let store = FakeStore::new();
    let layer = replica(&store, Rate::per_second(10).burst(2), 1);
    let handle = layer.handle();
    assert_eq!(call(&layer).await, Ok(()));
    handle.set_rate(Rate::per_second(0));
    assert_eq!(call(&layer).await.unwrap_err().0, Reason::RateLimited);
    handle.set_rate(Rate::per_second(1000).burst(500));
    assert_eq!(handle.rates(), [Rate::per_second(1000).burst(500)]);
    for _ in 0..100 {
        assert_eq!(call(&layer).await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn rate_of_zero_refuses_and_a_period_of_zero_admits_without_the_store() {
    let store = FakeStore::new();
    assert_eq!(
        call(&replica(&store, Rate::per_second(0), 1)).await.unwrap_err().0,
        Reason::RateLimited
    );
    assert_eq!(call(&replica(&store, Rate::new(1, Duration::ZERO), 1)).await, Ok(()));
    assert!(store.asks().is_empty());
}

/// A21: the name is a part of the key.
#[tokio::test(start_paused = true)]
async fn layers_of_one_name_share_a_rate_and_others_do_not() {
    let store = FakeStore::new();
    let rate = Rate::per_second(10).burst(1);
    assert_eq!(call(&replica(&store, rate, 2).named("a")).await, Ok(()));
    assert_eq!(call(&replica(&store, rate, 2).named("b")).await, Ok(()));
    assert_eq!(
        call(&replica(&store, rate, 2).named("a")).await.unwrap_err().0,
        Reason::RateLimited
    );
}

/// A20: replicas with an old and a new rate ask in turn.
#[tokio::test(start_paused = true)]
async fn layers_with_an_old_and_a_new_rate_neither_refill_nor_empty_the_bucket() {
    let (slow, fast) = (Rate::per_second(100).burst(10), Rate::per_second(1000).burst(10));
    for rates in [[slow, fast], [fast, slow]] {
        let store = FakeStore::new();
        let layers =
            rates.map(|rate| ThrottleLayer::rate(rate).fleet(Fleet::new(store.clone(), 2).exact()));
        let spend_in_turn = async || {
            let mut spent = 0;
            loop {
                let before = spent;
                for layer in &layers {
                    spent += u32::from(call(layer).await.is_ok());
                }
                if spent == before {
                    return spent;
                }
            }
        };
        assert_eq!(spend_in_turn().await, 10, "the burst of a new bucket");
        for _ in 0..20 {
            advance(millis(50)).await;
            // 5 cells come at the slow rate, and the fast one fills the bucket.
            let spent = spend_in_turn().await;
            assert!((5..=10).contains(&spent), "{spent} with {rates:?}");
        }
        let losses = layers.each_ref().map(|layer| layer.handle().fleet().losses);
        assert_eq!(losses, [0, 0], "with {rates:?}");
    }
}
