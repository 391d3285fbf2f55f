//! Live settings: the rule and the number of hedges change while calls run.

use std::time::Duration;

use buttress_hedge::{Budget, HedgeHandle, HedgeLayer, HedgeRule, Ratio};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

use crate::support::{MS, SECOND, failure, hedging, script, times};

#[tokio::test(start_paused = true)]
async fn set_rule_reaches_clones_and_not_sibling_layers() {
    let layer = hedging(50 * MS);
    let (clone, sibling) = (layer.clone().named("clone"), hedging(50 * MS));
    layer.handle().set_rule(HedgeRule::After(20 * MS));
    for (layer, delay) in [(clone, 20 * MS), (sibling, 50 * MS)] {
        let upstream = script().delay(100 * MS).ok(1).service();
        layer.layer(upstream.clone()).oneshot(1).await.unwrap();
        assert_eq!(times(&upstream), [0, delay.as_millis()]);
        assert_eq!(layer.handle().rule(), HedgeRule::After(delay));
    }
}

#[tokio::test(start_paused = true)]
async fn running_call_keeps_the_time_of_its_hedge_and_takes_the_new_rule_for_the_next() {
    let layer = hedging(50 * MS).at_most(2);
    let upstream = script().delay(200 * MS).ok(1).service();
    let change = async {
        sleep(10 * MS).await;
        layer.handle().set_rule(HedgeRule::After(5 * MS));
    };
    tokio::join!(layer.layer(upstream.clone()).oneshot(1), change).0.unwrap();
    assert_eq!(times(&upstream), [0, 50, 55]);
}

#[tokio::test(start_paused = true)]
async fn set_at_most_zero_stops_the_hedges_of_running_and_later_calls() {
    let layer = hedging(50 * MS).at_most(9);
    let upstream = script().delay(220 * MS).ok(1).service();
    let service = layer.layer(upstream.clone());
    let change = async {
        sleep(120 * MS).await;
        layer.handle().set_at_most(0);
    };
    tokio::join!(service.clone().oneshot(1), change).0.unwrap();
    assert_eq!(times(&upstream), [0, 50, 100]);
    service.oneshot(1).await.unwrap();
    assert_eq!(upstream.calls(), 4);
    assert_eq!(layer.handle().at_most(), 0);
}

#[tokio::test(start_paused = true)]
async fn failed_call_returns_its_outcome_when_its_next_hedge_was_taken_away() {
    let layer = hedging(SECOND).at_most(1).after_failures();
    let upstream = script().delay(100 * MS).answer(failure("failure")).service();
    let change = async {
        sleep(50 * MS).await;
        layer.handle().set_at_most(0);
    };
    tokio::join!(layer.layer(upstream.clone()).oneshot(1), change).0.unwrap_err();
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn fixed_delay_becomes_learned_and_fixed_again() {
    let layer = HedgeLayer::after(50 * MS).budget(Budget::unlimited());
    let handle = layer.handle();
    let learned = HedgeRule::At(Ratio::percent(95), 10 * MS);
    handle.set_rule(learned);
    assert_eq!((handle.rule(), handle.delay()), (learned, None));
    let service = layer.layer(script().delay(100 * MS).ok(1).service());
    for _ in 0..60 {
        service.clone().oneshot(1).await.unwrap();
    }
    let delay = handle.delay().unwrap();
    assert!(delay >= 100 * MS && delay <= 113 * MS, "{delay:?}");
    handle.set_rule(HedgeRule::At(Ratio::percent(95), 200 * MS));
    assert_eq!(handle.delay(), Some(200 * MS), "not before the least delay");
    handle.set_rule(HedgeRule::After(30 * MS));
    assert_eq!(handle.delay(), Some(30 * MS));
    handle.set_rule(learned);
    assert_eq!(handle.delay(), Some(delay), "the latency that was learned before");
}

#[tokio::test(start_paused = true)]
async fn new_quantile_is_known_after_further_calls() {
    let layer = HedgeLayer::at(Ratio::percent(99), Duration::ZERO).budget(Budget::unlimited());
    let handle = layer.handle();
    let service = |delay| layer.layer(script().delay(delay).ok(1).service());
    let (fast, slow) = (service(20 * MS), service(200 * MS));
    for round in 0..3 {
        if round == 1 {
            assert!(handle.delay().unwrap() >= 200 * MS);
            handle.set_rule(HedgeRule::At(Ratio::percent(50), Duration::ZERO));
            assert!(handle.delay().unwrap() >= 200 * MS, "the former quantile for now");
        }
        for call in 0..600 {
            let service = if call % 10 == 0 { &slow } else { &fast };
            service.clone().oneshot(1).await.unwrap();
        }
    }
    assert!(handle.delay().unwrap() <= 25 * MS, "{:?}", handle.delay());
}

#[tokio::test(start_paused = true)]
async fn handle_takes_every_value_that_the_layer_takes() {
    let layer = hedging(50 * MS);
    let handle = layer.handle();
    handle.set_at_most(u32::MAX);
    assert_eq!(handle.at_most(), 100);
    handle.set_rule(HedgeRule::At(Ratio::ZERO, 7 * MS));
    assert_eq!(handle.rule(), HedgeRule::After(7 * MS));
    handle.set_rule(HedgeRule::At(Ratio::per_million(u32::MAX), Duration::ZERO));
    assert_eq!(handle.rule(), HedgeRule::At(Ratio::percent(100), Duration::ZERO));
    handle.set_rule(HedgeRule::After(Duration::MAX));
    assert_eq!(handle.delay(), None);
    let upstream = script().delay(100 * MS).ok(1).service();
    layer.layer(upstream.clone()).oneshot(1).await.unwrap();
    assert_eq!(upstream.calls(), 1);
    handle.set_rule(HedgeRule::After(Duration::ZERO));
    layer.layer(upstream.clone()).oneshot(1).await.unwrap();
    assert!(upstream.calls() > 2);
}

#[tokio::test(start_paused = true)]
async fn per_service_layer_gives_later_services_its_settings_of_that_time() {
    let layer = HedgeLayer::after(50 * MS).per_service();
    let service = || layer.layer(script().ok(1).service());
    let first = service();
    layer.handle().set_rule(HedgeRule::After(20 * MS));
    layer.handle().set_at_most(3);
    let second = service();
    let of = |handle: HedgeHandle| (handle.rule().least(), handle.at_most());
    assert_eq!(of(first.handle()), (50 * MS, 1));
    assert_eq!(of(second.handle()), (20 * MS, 3));
    second.handle().set_at_most(9);
    assert_eq!(of(layer.handle()), (20 * MS, 3));
}

#[tokio::test(start_paused = true)]
async fn at_most_option_starts_fresh_state_with_the_rule_of_that_time() {
    let layer = hedging(50 * MS);
    layer.handle().set_rule(HedgeRule::After(20 * MS));
    let other = layer.clone().at_most(2);
    layer.handle().set_rule(HedgeRule::After(10 * MS));
    assert_eq!((other.handle().rule(), other.handle().at_most()), (HedgeRule::After(20 * MS), 2));
    assert_eq!(layer.handle().at_most(), 1);
}
