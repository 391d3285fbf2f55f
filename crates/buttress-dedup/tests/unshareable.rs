//! Responses that cannot be shared, and whose leader has left.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic as the test may")]

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use buttress_core::{Bind, BoxError};
use buttress_dedup::DedupLayer;
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceExt, service_fn};

use private::Private;

mod private;

/// A response that holds a resource, such as the permit of a limit.
type Held = Arc<()>;

/// The resources of all calls, in the order of the responses.
#[derive(Clone, Default)]
struct Resources(Arc<Mutex<Vec<Weak<()>>>>);

impl Resources {
    fn service(
        &self,
    ) -> impl Service<u32, Response = Held, Error = BoxError, Future: Send> + Clone + Send + 'static
    {
        let resources = self.clone();
        service_fn(move |_: u32| {
            let resources = resources.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let held = Held::default();
                resources.0.lock().unwrap().push(Arc::downgrade(&held));
                Ok(held)
            }
        })
    }

    fn is_first_free(&self) -> bool {
        self.0.lock().unwrap().first().is_some_and(|held| held.upgrade().is_none())
    }
}

#[tokio::test(start_paused = true)]
async fn response_is_dropped_when_the_leader_left_before_although_a_member_is_held() {
    let resources = Resources::default();
    let service = DedupLayer::new().bind(Private).layer(resources.service());
    let [mut leader, mut held, mut follower] =
        [(); 3].map(|()| task::spawn(service.clone().oneshot(7)));
    assert_pending!(leader.poll());
    assert_pending!(held.poll());
    assert_pending!(follower.poll());
    drop(leader);
    tokio::time::advance(Duration::from_millis(50)).await;
    assert_pending!(follower.poll());
    assert!(resources.is_first_free(), "before the follower's own call has ended");
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn response_is_dropped_when_the_leader_leaves_after_although_a_member_is_held() {
    let resources = Resources::default();
    let service = DedupLayer::new().bind(Private).layer(resources.service());
    let [mut leader, mut held, mut follower] =
        [(); 3].map(|()| task::spawn(service.clone().oneshot(7)));
    assert_pending!(leader.poll());
    assert_pending!(held.poll());
    assert_pending!(follower.poll());
    tokio::time::advance(Duration::from_millis(50)).await;
    assert_pending!(follower.poll());
    assert!(!resources.is_first_free(), "the leader may still come for its response");
    drop(leader);
    assert!(resources.is_first_free());
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn response_waits_for_a_leader_that_comes_late() {
    let resources = Resources::default();
    let service = DedupLayer::new().bind(Private).layer(resources.service());
    let [mut leader, mut follower] = [(); 2].map(|()| task::spawn(service.clone().oneshot(7)));
    assert_pending!(leader.poll());
    assert_pending!(follower.poll());
    tokio::time::advance(Duration::from_millis(50)).await;
    assert_pending!(follower.poll());
    let response = assert_ready!(leader.poll()).unwrap();
    assert!(!resources.is_first_free());
    drop(response);
    assert!(resources.is_first_free());
}
