//! The events of the layer, and that it emits none for a call that begins at once.

use std::time::Duration;

use buttress_core::{Attempt, BoxError, Deadline};
use buttress_order::OrderLayer;
use buttress_testkit::Events;
use tokio_test::{assert_pending, task};
use tower::{Layer, service_fn};
use tower_service::Service;
use tracing::Level;

async fn work(_: u32) -> Result<(), BoxError> {
    tokio::task::yield_now().await;
    Ok(())
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::unnecessary_wraps,
    reason = "the shape of a key"
)]
fn all(_: &u32) -> Option<()> {
    Some(())
}

fn names_and_instances(events: &Events) -> Vec<(&'static str, String)> {
    let field = |event: &buttress_testkit::Event| event.field("instance").unwrap_or("").to_owned();
    events.all().iter().map(|event| (event.name, field(event))).collect()
}

#[tokio::test(start_paused = true)]
async fn serial_layer_reports_a_wait_a_full_queue_and_an_expired_call() {
    let events = Events::of("buttress");
    let mut service = OrderLayer::serial(all).queue(1).named("w").layer(service_fn(work));
    service.call(0).await.unwrap();
    let running = service.call(1);
    assert_eq!(events.names(), [""; 0], "nothing is told of calls that begin at once");
    let waiting = service.call(2);
    let full = service.call(3);
    full.await.unwrap_err();
    running.await.unwrap();
    waiting.await.unwrap();
    let _held = service.call(4);
    let deadline = Deadline::after(Duration::from_millis(5));
    let late = Deadline::with(Some(deadline), || service.call(5));
    late.await.unwrap_err();
    let told = |name| (name, "w".to_owned());
    let expected = [told("order.full"), told("order.waited"), told("order.expired")];
    assert_eq!(names_and_instances(&events), expected);
}

#[tokio::test(start_paused = true)]
async fn latest_wins_layer_reports_each_superseded_call_once() {
    let events = Events::of("buttress");
    let mut service = OrderLayer::latest(all).named("typing").layer(service_fn(work));
    let mut running = task::spawn(service.call(1));
    assert_pending!(running.poll());
    let waiting = service.call(2);
    let newest = service.call(3);
    waiting.await.unwrap_err();
    running.await.unwrap_err();
    newest.await.unwrap();
    let told = |name| (name, "typing".to_owned());
    let expected = [told("order.superseded"), told("order.superseded"), told("order.waited")];
    assert_eq!(names_and_instances(&events), expected);
}

#[tokio::test(start_paused = true)]
async fn layer_reports_a_spare_call_that_is_refused() {
    let events = Events::of("buttress");
    let mut service = OrderLayer::latest(all).layer(service_fn(work));
    let _running = service.call(1);
    Attempt::current().spare().with(|| service.call(2)).await.unwrap_err();
    assert_eq!(names_and_instances(&events), [("order.spare_refused", "order".to_owned())]);
    assert_eq!(events.all()[0].level, Level::TRACE);
}
