//! The numbers of the layer, and options that change one clone only.

use buttress_core::Verdict;
use buttress_fallback::{FallbackLayer, FallbackSnapshot};
use buttress_testkit::{TestError, counts};
use tower::{Layer, ServiceExt};

use super::support::{Count, failing, poll_once, tenfold};

#[tokio::test(start_paused = true)]
async fn clones_of_a_layer_and_their_services_share_the_numbers() {
    let layer = FallbackLayer::value(7);
    let service = layer.clone().layer(failing(TestError::Failed));
    assert_eq!(service.clone().oneshot(1).await, Ok(7));
    assert_eq!(layer.layer(tenfold()).oneshot(1).await, Ok(10));
    let expected = counts!(FallbackSnapshot { calls: 2, answered: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
    assert_eq!(service.handle().snapshot(), expected);
    let handle = layer.handle();
    let getters = (handle.calls(), handle.answered(), handle.failed(), handle.full());
    assert_eq!((getters, handle.in_flight()), ((2, 1, 0, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn services_have_numbers_of_their_own_under_per_service() {
    let layer = FallbackLayer::service(tenfold()).at_most(1).per_service();
    let (one, two) =
        (layer.layer(failing(TestError::Failed)), layer.layer(failing(TestError::Failed)));
    assert_eq!(one.clone().oneshot(1).await, Ok(10));
    let expected = counts!(FallbackSnapshot { calls: 1, answered: 1 });
    assert_eq!(one.handle().snapshot(), expected);
    assert_eq!(two.handle().snapshot(), FallbackSnapshot::default());
    assert_eq!(layer.handle().snapshot(), FallbackSnapshot::default());
}

#[tokio::test(start_paused = true)]
async fn services_have_places_of_their_own_under_per_service() {
    let second = tenfold();
    second.hold();
    let layer = FallbackLayer::service(second.clone()).at_most(1).per_service();
    let services = [(); 2].map(|()| layer.layer(failing(TestError::Failed)));
    let mut calls = services.map(|service| Box::pin(service.oneshot(1)));
    for call in &mut calls {
        assert!(poll_once(call).await.is_pending());
    }
    assert_eq!(second.live(), 2);
}

#[tokio::test(start_paused = true)]
async fn option_changes_no_clone_made_before() {
    let layer = FallbackLayer::service(tenfold());
    let before = layer.clone();
    let after = layer.at_most(0).when(|_| false).observe().await_ready().named("other");
    let answered = before.layer(failing(TestError::Failed)).oneshot(1).await;
    assert_eq!(answered, Ok(10));
    let passed = after.layer(failing(TestError::Failed)).oneshot(1).await;
    assert_eq!(passed, Err(TestError::Failed));
    // The counters are shared all the same.
    let expected = counts!(FallbackSnapshot { calls: 2, answered: 1 });
    assert_eq!(before.handle().snapshot(), expected);
    assert_eq!(after.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn options_may_stand_in_any_order() {
    let verdict = |outcome: Result<&u32, &TestError>| match outcome {
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Permanent,
    };
    let permanent = |verdict| verdict == Verdict::Permanent;
    let one = FallbackLayer::value(7).when(permanent).classify(verdict).await_ready();
    let other = FallbackLayer::value(7).await_ready().classify(verdict).when(permanent);
    assert_eq!(one.layer(failing(TestError::Failed)).oneshot(1).await, Ok(7));
    assert_eq!(other.layer(failing(TestError::Failed)).oneshot(1).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn observing_layer_counts_what_it_would_answer_and_changes_nothing() {
    let runs = Count::default();
    let count = runs.clone();
    let answer = move |_, _: Result<&u32, &TestError>| {
        count.add();
        7
    };
    let layer = FallbackLayer::answer(answer).observe();
    let service = layer.layer(failing(TestError::Failed));
    assert_eq!(service.oneshot(1).await, Err(TestError::Failed));
    assert_eq!(layer.layer(tenfold()).oneshot(1).await, Ok(10));
    assert_eq!(runs.get(), 0);
    let expected = counts!(FallbackSnapshot { calls: 2, answered: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn observing_layer_never_calls_the_alternative() {
    let second = tenfold();
    let layer = FallbackLayer::service(second.clone()).observe();
    let service = layer.layer(failing(TestError::Failed));
    assert_eq!(service.oneshot(1).await, Err(TestError::Failed));
    assert_eq!((second.calls(), second.ready_polls()), (0, 0));
    assert_eq!(layer.handle().answered(), 1);
}
