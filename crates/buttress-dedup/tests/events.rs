//! The events of a layer.

use buttress_core::{Bind, BoxError};
use buttress_dedup::{DedupLayer, DedupSnapshot};
use buttress_testkit::{Events, counts};
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt, service_fn};
use tracing::Level;

use private::Private;

mod private;

#[tokio::test(start_paused = true)]
async fn joined_event_names_the_instance_for_followers_only() {
    let events = Events::of("buttress");
    let service = DedupLayer::new().named("users").layer(service_fn(work));
    let mut calls = [(); 3].map(|()| task::spawn(service.clone().oneshot(1)));
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    assert_eq!(events.names(), ["dedup.joined"; 2]);
    for joined in events.all() {
        assert_eq!(joined.level, Level::TRACE);
        assert_eq!(joined.field("instance"), Some("users"));
    }
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(events.names().len(), 2, "a response emits no event");
}

#[tokio::test(start_paused = true)]
async fn lone_calls_emit_no_events() {
    let events = Events::of("buttress");
    let service = DedupLayer::new().layer(service_fn(work));
    service.clone().oneshot(1).await.unwrap();
    service.oneshot(1).await.unwrap();
    assert_eq!(events.names(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn panic_emits_one_event_for_all_waiters() {
    let events = Events::of("buttress");
    let service = DedupLayer::new().named("users").layer(service_fn(|_: u32| async {
        tokio::task::yield_now().await;
        std::panic::resume_unwind(Box::new("as told"));
        #[expect(unreachable_code, reason = "says what the service would return")]
        Ok::<u32, BoxError>(1)
    }));
    let mut calls = [(); 3].map(|()| task::spawn(service.clone().oneshot(1)));
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    for call in calls {
        call.await.unwrap_err();
    }
    let told = events.named("dedup.panicked");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].level, Level::ERROR);
    assert_eq!(told[0].field("instance"), Some("users"));
}

#[tokio::test(start_paused = true)]
async fn panicking_key_function_emits_an_event() {
    let events = Events::of("buttress");
    let key = |_: &u32| -> Option<u32> { std::panic::resume_unwind(Box::new("as told")) };
    let service = DedupLayer::keyed(key).layer(service_fn(work));
    service.oneshot(1).await.unwrap_err();
    assert_eq!(events.names(), ["dedup.panicked"]);
    assert_eq!(events.all()[0].field("instance"), Some("dedup"));
}

#[tokio::test(start_paused = true)]
async fn unshareable_response_emits_an_event_and_followers_bypass() {
    let events = Events::of("buttress");
    let layer = DedupLayer::new().named("users");
    let handle = layer.handle();
    let service = layer.bind(Private).layer(service_fn(work));
    let mut calls = [(); 3].map(|()| task::spawn(service.clone().oneshot(7)));
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    for call in calls {
        assert_eq!(call.await.unwrap(), 7);
    }
    let expected = counts!(DedupSnapshot { calls: 3, leaders: 1, followers: 2, bypassed: 2 });
    assert_eq!(handle.snapshot(), expected);
    assert_eq!(events.names(), ["dedup.joined", "dedup.joined", "dedup.not_shared"]);
    let told = &events.named("dedup.not_shared")[0];
    assert_eq!(told.level, Level::DEBUG);
    assert_eq!(told.field("instance"), Some("users"));
}

#[tokio::test(start_paused = true)]
async fn unshareable_response_is_reported_when_the_leader_left() {
    let service = DedupLayer::new().bind(Private).layer(service_fn(work));
    let mut first = task::spawn(service.clone().oneshot(7));
    let mut others = [(); 2].map(|()| task::spawn(service.clone().oneshot(7)));
    assert_pending!(first.poll());
    for call in &mut others {
        assert_pending!(call.poll());
    }
    drop(first);
    let events = Events::of("buttress");
    for call in others {
        assert_eq!(call.await.unwrap(), 7);
    }
    assert_eq!(events.names(), ["dedup.not_shared"]);
}

async fn work(n: u32) -> Result<u32, BoxError> {
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    Ok(n)
}
