//! Events. In a process of its own, because every test records.

use std::time::Duration;

use buttress_core::BoxError;
use buttress_deadline::DeadlineLayer;
use buttress_retry::{Backoff, RetryLayer};
use buttress_testkit::Events;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn each_attempt_retry_and_stop_emits_an_event() {
    let events = Events::of("buttress");
    let service = RetryLayer::new(2).named("db").layer(service_fn(failing));
    service.oneshot(()).await.unwrap_err();
    assert_eq!(
        events.names(),
        ["retry.attempt", "retry.scheduled", "retry.attempt", "retry.stopped"]
    );
    assert_eq!(events.named("retry.scheduled")[0].field("observed"), Some("false"));
    let stopped = &events.named("retry.stopped")[0];
    assert_eq!(stopped.field("instance"), Some("db"));
    assert_eq!(stopped.field("reason"), Some("attempts_used"));
    assert_eq!(stopped.field("attempts"), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn observed_retry_emits_scheduled_with_observed_true() {
    let events = Events::of("buttress");
    let service = RetryLayer::new(2).observe().layer(service_fn(failing));
    service.oneshot(()).await.unwrap_err();
    assert_eq!(events.names(), ["retry.attempt", "retry.scheduled"]);
    assert_eq!(events.named("retry.scheduled")[0].field("observed"), Some("true"));
}

#[tokio::test(start_paused = true)]
async fn same_seed_gives_the_same_event_log() {
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
