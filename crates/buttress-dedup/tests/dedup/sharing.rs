//! The scope of flights: all clones of a layer, and all services it makes.

use buttress_dedup::{DedupLayer, DedupSnapshot};
use buttress_testkit::counts;
use futures_util::future::join_all;
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Failure, ms, outcome, taking, waiting};

#[tokio::test(start_paused = true)]
async fn clones_and_services_of_a_layer_share_flights() {
    let (layer, upstream) = (DedupLayer::new(), taking(ms(50)));
    let services = [
        layer.layer(upstream.clone()),
        layer.layer(upstream.clone()),
        layer.clone().layer(upstream.clone()),
        layer.clone().named("other").layer(upstream.clone()),
    ];
    let all = join_all(services.iter().map(|service| service.clone().oneshot(1))).await;
    assert_eq!(all, [1; 4].map(Ok));
    assert_eq!(upstream.calls(), 1);
    assert_eq!(layer.handle().followers(), 3);
}

#[tokio::test(start_paused = true)]
async fn services_made_for_each_request_share_flights() {
    let (layer, upstream) = (DedupLayer::new(), taking(ms(50)));
    let call = |_| layer.layer(upstream.clone()).oneshot(1);
    assert_eq!(join_all((0..4).map(call)).await, [1; 4].map(Ok));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn separate_layers_share_no_flights() {
    let upstream = taking(ms(50));
    let services = [(); 2].map(|()| DedupLayer::new().layer(upstream.clone()));
    let all = join_all(services.iter().map(|service| service.clone().oneshot(1))).await;
    assert_eq!(all, [Ok(1), Ok(2)]);
}

#[tokio::test(start_paused = true)]
async fn per_service_layer_gives_each_service_its_own_flights() {
    let (layer, upstream) = (DedupLayer::new().per_service(), taking(ms(50)));
    let (one, other) = (layer.layer(upstream.clone()), layer.layer(upstream.clone()));
    let calls = [one.clone(), one, other.clone(), other].map(|service| service.oneshot(1));
    assert_eq!(join_all(calls).await, [Ok(1), Ok(1), Ok(2), Ok(2)]);
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn per_service_layer_gives_each_service_its_own_handle() {
    let (layer, upstream) = (DedupLayer::new().per_service(), taking(ms(50)));
    let (one, other) = (layer.layer(upstream.clone()), layer.layer(upstream.clone()));
    let _flying = [waiting(&one, 1), waiting(&one.clone(), 1), waiting(&other, 1)];
    let of_one =
        counts!(DedupSnapshot { calls: 2, leaders: 1, followers: 1, in_flight: 1, waiters: 2 });
    let of_other = counts!(DedupSnapshot { calls: 1, leaders: 1, in_flight: 1, waiters: 1 });
    assert_eq!(one.handle().snapshot(), of_one);
    assert_eq!(other.handle().snapshot(), of_other);
    one.handle().invalidate_all();
    let invalidated = counts!(DedupSnapshot { in_flight: 0, waiters: 0, ..of_one });
    assert_eq!(one.handle().snapshot(), invalidated);
    assert_eq!(other.handle().snapshot(), of_other);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn service_and_layer_have_the_same_handle() {
    let layer = DedupLayer::new();
    let service = layer.layer(taking(ms(50)));
    let _flying = [waiting(&service, 1), waiting(&service, 1)];
    assert_eq!(service.handle().waiters(), 2);
    assert_eq!(layer.handle().waiters(), 2);
}

#[tokio::test(start_paused = true)]
async fn layer_over_two_service_types_counts_flights_of_both() {
    let layer = DedupLayer::new();
    let (handle, upstream) = (layer.handle(), taking(ms(50)));
    let numbers = layer.layer(upstream.clone());
    let words = layer.layer(service_fn(|word: &'static str| async move {
        tokio::time::sleep(ms(50)).await;
        Ok::<_, Failure>(word.len())
    }));
    let (number, word) = (waiting(&numbers, 1), waiting(&words, "abc"));
    let (also_number, also_word) = (waiting(&numbers, 1), waiting(&words, "abc"));
    let expected =
        counts!(DedupSnapshot { calls: 4, leaders: 2, followers: 2, in_flight: 2, waiters: 4 });
    assert_eq!(handle.snapshot(), expected);
    assert!(handle.invalidate(&"abc"));
    assert_eq!(handle.snapshot(), counts!(DedupSnapshot { in_flight: 1, waiters: 2, ..expected }));
    advance(ms(50)).await;
    assert_eq!(outcome(number), Ok(1));
    assert_eq!(outcome(also_number), Ok(1));
    assert_eq!(outcome(word), Ok(3));
    assert_eq!(outcome(also_word), Ok(3));
    assert_eq!(handle.snapshot(), counts!(DedupSnapshot { calls: 4, leaders: 2, followers: 2 }));
}

#[tokio::test(start_paused = true)]
async fn services_of_two_types_do_not_share_a_flight() {
    let layer = DedupLayer::keyed(|_: &u32| Some("same"));
    let other = layer.layer(taking(ms(50)));
    let doubled = layer.layer(service_fn(|n: u32| async move { Ok::<_, Failure>(2 * n) }));
    let flying = waiting(&other, 1);
    assert_eq!(doubled.oneshot(1).await, Ok(2), "the keys are equal, but not the services");
    assert_eq!(flying.await, Ok(1));
}
