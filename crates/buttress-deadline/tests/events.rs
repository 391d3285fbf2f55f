//! Events. In a process of its own, because every test records.

use std::time::Duration;

use buttress_core::{BoxError, Deadline};
use buttress_deadline::DeadlineLayer;
use buttress_testkit::Events;
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn each_exceeded_deadline_emits_one_event_with_its_phase() {
    let events = Events::of("buttress");
    let service = DeadlineLayer::new(SECOND)
        .named("db")
        .layer(service_fn(|(): ()| std::future::pending::<Result<(), BoxError>>()));
    service.clone().oneshot(()).await.unwrap_err();
    Deadline::at(Instant::now()).around(service.oneshot(())).await.unwrap_err();
    assert_eq!(events.names(), ["deadline.exceeded", "deadline.expired"]);
    let cut = &events.named("deadline.exceeded")[0];
    assert_eq!(cut.field("instance"), Some("db"));
    assert_eq!(cut.field("phase"), Some("call"));
}
