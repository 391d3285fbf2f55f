//! The contract of a tower layer, and what is told through `tracing`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress_core::BoxError;
use buttress_deadline::DeadlineLayer;
use buttress_retry::{Backoff, Budget, Ratio, RetryLayer};
use buttress_testkit::{Events, Probe, contract, sweep};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_layer_keeps_the_contract() {
    contract(|| RetryLayer::new(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_of_one_attempt_keeps_the_contract() {
    contract(|| RetryLayer::new(1)).await;
}

#[tokio::test(start_paused = true)]
async fn the_stack_of_deadline_retry_and_attempt_deadline_keeps_the_contract() {
    contract(|| {
        (DeadlineLayer::new(30 * SECOND), RetryLayer::new(3), DeadlineLayer::new(5 * SECOND))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_behind_wherever_a_call_is_dropped() {
    let failures = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&failures);
    // Every other answer is a failure.
    let probe = Probe::new(move |n: u32| match count.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => Err(BoxError::from("failure")),
        _ => Ok(n),
    });
    let probe = probe.permits(1).pausing(2);
    let budget = Budget::new(Ratio::percent(0), 1000);
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(30 * SECOND))
        .layer(RetryLayer::new(4).budget(budget))
        .layer(DeadlineLayer::new(SECOND))
        .service(probe.clone());
    let drops = sweep(|| stack.clone().oneshot(1)).over(&probe).await;
    assert!(drops > 5, "{drops}");
}

#[tokio::test(start_paused = true)]
async fn an_event_is_told_for_each_retry_and_for_the_end_of_trying() {
    // RB-15, CO-05.
    let events = Events::of("buttress");
    let service = RetryLayer::new(2).named("db").layer(service_fn(failing));
    service.oneshot(()).await.unwrap_err();
    assert_eq!(
        events.names(),
        ["retry.attempt", "retry.scheduled", "retry.attempt", "retry.stopped"]
    );
    let stopped = &events.named("retry.stopped")[0];
    assert_eq!(stopped.field("instance"), Some("db"));
    assert_eq!(stopped.field("reason"), Some("attempts_used"));
    assert_eq!(stopped.field("attempts"), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_log_byte_for_byte() {
    // CO-08.
    let run = async |seed: u64| {
        let events = Events::of("buttress");
        let service = ServiceBuilder::new()
            .layer(DeadlineLayer::new(10 * SECOND))
            .layer(RetryLayer::new(9).backoff(Backoff::exponential(SECOND, 4 * SECOND)).seed(seed))
            .layer(DeadlineLayer::new(SECOND))
            .service(service_fn(failing));
        for _ in 0..5 {
            service.clone().oneshot(()).await.unwrap_err();
        }
        events.log()
    };
    let first = run(1).await;
    assert_eq!(first, run(1).await);
    assert_ne!(first, run(2).await);
}

async fn failing((): ()) -> Result<(), BoxError> {
    tokio::time::sleep(Duration::from_millis(20)).await;
    Err("failure".into())
}
