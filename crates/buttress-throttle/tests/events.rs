//! The events a layer tells, and that it tells nothing of a call that goes through.

use std::time::Duration;

use buttress_core::{Attempt, BoxError, Criticality, Deadline};
use buttress_testkit::Events;
use buttress_throttle::{Rate, ThrottleLayer};
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt, service_fn};
use tracing::Level;

#[tokio::test(start_paused = true)]
async fn rejected_event_names_instance_reason_and_criticality() {
    let events = Events::of("buttress");
    let layer = ThrottleLayer::concurrency(1).queue(1).named("db");
    let service = layer.layer(service_fn(work));
    let mut running = task::spawn(service.clone().oneshot(10));
    assert_pending!(running.poll());
    assert_eq!(events.names(), [""; 0], "nothing is told of a call that goes through");
    let mut waiting =
        task::spawn(Deadline::after(Duration::from_millis(5)).around(service.clone().oneshot(10)));
    assert_pending!(waiting.poll());
    Criticality::Sheddable.around(service.clone().oneshot(10)).await.unwrap_err();
    waiting.await.unwrap_err();
    assert_eq!(events.names(), ["throttle.queued", "throttle.rejected", "throttle.rejected"]);
    let told =
        |n: usize, field| events.named("throttle.rejected")[n].field(field).map(str::to_owned);
    let fields = ["instance", "reason", "criticality", "retry_after", "observed"];
    let full = ["db", "queue_full", "sheddable", "None", "false"];
    let late = ["db", "deadline", "critical", "None", "false"];
    for (field, (full, late)) in fields.into_iter().zip(full.into_iter().zip(late)) {
        assert_eq!(told(0, field).as_deref(), Some(full));
        assert_eq!(told(1, field).as_deref(), Some(late));
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_event_says_full_when_there_is_no_queue() {
    let events = Events::of("buttress");
    let service = ThrottleLayer::concurrency(0).layer(service_fn(work));
    service.oneshot(1).await.unwrap_err();
    assert_eq!(events.named("throttle.rejected")[0].field("reason"), Some("full"));
}

#[tokio::test(start_paused = true)]
async fn rejected_event_says_observed_when_the_layer_observes() {
    let events = Events::of("buttress");
    let service = ThrottleLayer::rate(Rate::per_second(1)).observe().layer(service_fn(work));
    service.clone().oneshot(1).await.unwrap();
    service.oneshot(1).await.unwrap();
    let rejected = &events.named("throttle.rejected")[0];
    assert_eq!(
        (rejected.field("reason"), rejected.field("observed")),
        (Some("rate"), Some("true"))
    );
    assert_eq!(rejected.field("retry_after"), Some("Some(999ms)"));
}

#[tokio::test(start_paused = true)]
async fn refused_spare_call_has_an_event_of_its_own_at_trace() {
    let events = Events::of("buttress");
    for observed in [false, true] {
        let layer = ThrottleLayer::concurrency(0).queue(1).named("db");
        let layer = if observed { layer.observe() } else { layer };
        let service = layer.layer(service_fn(work));
        let call = || service.clone().oneshot(1);
        let mut polled = task::spawn(call());
        Attempt::FIRST.spare().with(|| drop(polled.poll()));
        let event = &events.named("throttle.spare_refused")[usize::from(observed)];
        assert_eq!(event.level, Level::TRACE);
        for (field, value) in [
            ("instance", "db"),
            ("reason", "full"),
            ("criticality", "critical"),
            ("retry_after", "None"),
            ("observed", if observed { "true" } else { "false" }),
        ] {
            assert_eq!(event.field(field), Some(value));
        }
    }
    assert_eq!(events.names(), ["throttle.spare_refused"; 2]);
}

/// So many milliseconds of it.
async fn work(millis: u64) -> Result<u64, BoxError> {
    tokio::time::sleep(Duration::from_millis(millis)).await;
    Ok(millis)
}
