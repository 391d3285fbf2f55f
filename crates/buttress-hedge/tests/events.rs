//! Events. In a process of its own, because every test records.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::time::Duration;

use buttress_core::BoxError;
use buttress_hedge::{Budget, HedgeLayer, WithheldReason};
use buttress_testkit::{Events, Script};
use tower::{Layer, ServiceExt};

const MS: Duration = Duration::from_millis(1);

async fn call(layer: HedgeLayer) {
    let upstream =
        Script::<u32, u32, BoxError>::new().delay(250 * MS).ok(1).hang().delay(20 * MS).ok(3);
    layer.layer(upstream.service()).oneshot(1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_hedge_and_its_victory_emit_an_event() {
    let events = Events::of("buttress");
    call(HedgeLayer::after(100 * MS).at_most(2).budget(Budget::unlimited()).named("db")).await;
    assert_eq!(events.names(), ["hedge.sent", "hedge.sent", "hedge.won"]);
    let log = events.log();
    let expected = "\
        100.000ms DEBUG hedge.sent instance=db attempt=2 after=100ms observed=false\n\
        200.000ms DEBUG hedge.sent instance=db attempt=3 after=200ms observed=false\n\
        220.000ms TRACE hedge.won instance=db attempt=3\n";
    assert_eq!(log, expected);
}

#[tokio::test(start_paused = true)]
async fn withheld_hedge_emits_its_reason_once_per_call() {
    let events = Events::of("buttress");
    call(HedgeLayer::after(50 * MS).at_most(9)).await;
    assert_eq!(events.names(), ["hedge.withheld"]);
    let event = &events.named("hedge.withheld")[0];
    assert_eq!(event.field("instance"), Some("hedge"));
    assert_eq!(event.field("reason"), Some("budget_empty"));
}

#[tokio::test(start_paused = true)]
async fn observed_hedge_emits_sent_with_observed_true() {
    let events = Events::of("buttress");
    call(HedgeLayer::after(100 * MS).at_most(2).budget(Budget::unlimited()).observe()).await;
    assert_eq!(events.names(), ["hedge.sent", "hedge.sent"]);
    assert_eq!(events.named("hedge.sent")[0].field("observed"), Some("true"));
}

#[test]
fn each_reason_has_the_name_of_its_event() {
    let names: Vec<_> = WithheldReason::ALL.iter().map(ToString::to_string).collect();
    let expected = [
        "not_replayable",
        "not_idempotent",
        "budget_empty",
        "shared_budget_empty",
        "deadline",
        "throttled",
    ];
    assert_eq!(names, expected);
}
