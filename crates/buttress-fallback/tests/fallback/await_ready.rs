//! Where a call waits for the readiness of the inner service.

use std::{future::poll_fn, task::Poll};

use buttress_core::{BoxError, Verdict};
use buttress_fallback::{FallbackLayer, FallbackSnapshot};
use buttress_testkit::{TestError, counts};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use super::support::{judge, poll_once, tenfold};

async fn poll_ready_once<S: Service<u32>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    poll_fn(|cx| Poll::Ready(service.poll_ready(cx))).await
}

#[tokio::test(start_paused = true)]
async fn readiness_is_that_of_the_inner_service() {
    let probe = tenfold().permits(0);
    let mut service = FallbackLayer::value(7).layer(probe.clone());
    assert!(poll_ready_once(&mut service).await.is_pending());
    assert_eq!(probe.waiting(), 1);
    probe.break_down(|| TestError::NotFound);
    assert_eq!(poll_ready_once(&mut service).await, Poll::Ready(Err(TestError::NotFound)));
}

#[tokio::test(start_paused = true)]
async fn readiness_error_is_answered_if_calls_await_readiness() {
    let probe = tenfold();
    probe.break_down(|| TestError::Failed);
    let answer = |verdict: Verdict, outcome: Result<&u32, &TestError>| {
        assert_eq!((verdict, outcome), (Verdict::Transient, Err(&TestError::Failed)));
        7
    };
    let layer = FallbackLayer::answer(answer).classify(judge).await_ready();
    assert_eq!(layer.layer(probe.clone()).oneshot(1).await, Ok(7));
    assert_eq!(probe.calls(), 0);
    let expected = counts!(FallbackSnapshot { calls: 1, answered: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn readiness_error_outside_the_set_passes_if_calls_await_readiness() {
    let probe = tenfold();
    probe.break_down(|| TestError::NotFound);
    let service = FallbackLayer::value(7).classify(judge).await_ready().layer(probe);
    assert_eq!(service.oneshot(1).await, Err(TestError::NotFound));
}

/// The error of a `Buffer` whose worker has gone.
#[tokio::test(start_paused = true)]
async fn closed_buffer_is_covered_if_calls_await_readiness() {
    let closed = || {
        let inner = service_fn(async |number: u32| Ok::<_, BoxError>(number));
        let (buffer, worker) = tower::buffer::Buffer::pair(inner, 1);
        drop(worker);
        buffer
    };
    let service = FallbackLayer::value(7).await_ready().layer(closed());
    assert_eq!(service.oneshot(1).await.unwrap(), 7);
    let service = FallbackLayer::value(7).layer(closed());
    service.oneshot(1).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn service_is_ready_at_once_and_reserves_nothing_if_calls_await_readiness() {
    let probe = tenfold().permits(1);
    let mut service = FallbackLayer::value(7).await_ready().layer(probe.clone());
    assert!(poll_ready_once(&mut service).await.is_ready());
    assert_eq!((probe.ready_polls(), probe.reserved()), (0, 0));
    let mut first = Box::pin(service.call(1));
    let mut second = Box::pin(service.call(2));
    assert!(probe.at_rest(), "a call that was not polled reserves nothing");
    probe.hold();
    assert!(poll_once(&mut first).await.is_pending());
    assert!(poll_once(&mut second).await.is_pending());
    // The instance that was ready is the one that runs, and the handle holds none.
    assert_eq!((probe.live(), probe.waiting(), probe.reserved()), (1, 1, 0));
    drop(second);
    assert_eq!(probe.waiting(), 0);
    probe.release();
    assert_eq!(first.await, Ok(10));
    assert!(probe.at_rest());
}

#[tokio::test(start_paused = true)]
async fn call_waits_in_the_future_until_the_service_is_ready() {
    let probe = tenfold().permits(1);
    let busy = probe.reserve();
    let service =
        ServiceBuilder::new().layer(FallbackLayer::value(7).await_ready()).service(probe.clone());
    let mut call = Box::pin(service.oneshot(1));
    assert!(poll_once(&mut call).await.is_pending());
    drop(busy);
    assert_eq!(call.await, Ok(10));
}
