//! Replicas that hoard cells and spend them all at once, when the bucket of the store is full again.

use std::time::Duration;

use buttress_testkit::FakeStore;
use buttress_throttle::{Fleet, Rate, ThrottleLayer};
use tokio::time::{advance, sleep};
use tower::{Layer, ServiceExt};

use crate::support::{FleetLayer, inner, millis};

/// Makes calls of `cost` cells until one is refused, in all replicas in turn. Returns the cells.
async fn spend_all(layers: &[FleetLayer], cost: u32) -> u64 {
    let mut spent = 0;
    for layer in layers {
        let service = layer.clone().cost(move |_: &u32| cost).layer(inner());
        while service.clone().oneshot(1).await.is_ok() {
            spent += u64::from(cost);
        }
    }
    spent
}

/// A replica that has become busy holds as many cells as it may.
async fn hoard(layers: &[FleetLayer], rate: Rate, calls: u32) {
    for _ in 0..calls {
        for layer in layers {
            let _ = layer.layer(inner()).oneshot(1).await;
        }
        advance(rate.interval() * u32::try_from(layers.len()).unwrap()).await;
        tokio::task::yield_now().await;
    }
}

/// 4.4: hoarded cells and a full bucket together are the burst.
#[tokio::test(start_paused = true)]
async fn hoarded_cells_and_a_full_bucket_stay_within_the_burst() {
    let cases = [
        (Rate::per_second(5000).burst(1000), 4),
        (Rate::per_second(5000).burst(2500), 16),
        (Rate::per_second(1000), 12),
    ];
    for (rate, replicas) in cases {
        for cost in [1, 3, 17] {
            let store = FakeStore::new();
            let layers: Vec<_> = (0..replicas)
                .map(|_| ThrottleLayer::rate(rate).fleet(Fleet::new(store.clone(), replicas)))
                .collect();
            hoard(&layers, rate, 400).await;
            // The slots live on, and the bucket fills up as far as the time allows.
            sleep(millis(150)).await;
            let held: u64 = layers.iter().map(|layer| u64::from(layer.handle().tokens())).sum();
            assert!(held > 0, "nothing was hoarded of {rate:?}");
            let spent = spend_all(&layers, cost).await;
            assert!(spent <= rate.burst_size().into(), "{spent} of {rate:?} at cost {cost}");
            assert!(spent * 2 >= rate.burst_size().into(), "{spent} of {rate:?} at cost {cost}");
        }
    }
}

/// A19, A20: a rate that changes in the middle brings no second burst.
#[tokio::test(start_paused = true)]
async fn changed_rate_brings_no_second_burst() {
    let before = Rate::per_second(5000).burst(1000);
    for after in [Rate::per_second(1000).burst(1000), Rate::per_second(9000).burst(1000)] {
        let store = FakeStore::new();
        let layers: Vec<_> = (0..4)
            .map(|_| ThrottleLayer::rate(before).fleet(Fleet::new(store.clone(), 4)))
            .collect();
        hoard(&layers, before, 400).await;
        sleep(millis(150)).await;
        let (old, new) = layers.split_at(2);
        let mut spent = spend_all(old, 1).await;
        for layer in new {
            layer.handle().set_rate(after);
        }
        spent += spend_all(new, 1).await;
        for layer in old {
            layer.handle().set_rate(after);
        }
        spent += spend_all(old, 1).await;
        assert!(spent <= 1000, "{spent} with {after:?}");
    }
}

/// More replicas than configured exceed the burst by what they hold, and no more.
#[tokio::test(start_paused = true)]
async fn replicas_beyond_the_number_add_what_they_hold() {
    let rate = Rate::per_second(5000).burst(1000);
    let store = FakeStore::new();
    let layers: Vec<_> =
        (0..8).map(|_| ThrottleLayer::rate(rate).fleet(Fleet::new(store.clone(), 4))).collect();
    hoard(&layers, rate, 400).await;
    sleep(Duration::from_millis(150)).await;
    let spent = spend_all(&layers, 1).await;
    assert!(spent <= 1000 + 4 * 50, "{spent}");
}
