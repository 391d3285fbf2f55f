//! The allocations of a call.

use std::{
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use buttress_fallback::FallbackLayer;
use buttress_testkit::TestError;
use tower::{Layer, Service, service_fn};

/// Returns how many allocations a call of `service` makes.
fn allocations(mut service: impl Service<u32, Response = u32, Error = TestError>) -> u64 {
    let mut cx = Context::from_waker(Waker::noop());
    let call = || {
        assert!(service.poll_ready(&mut cx).is_ready());
        let mut call = pin!(service.call(1));
        assert!(matches!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    };
    measure(call).count_total
}

fn healthy(number: u32) -> Ready<Result<u32, TestError>> {
    ready(Ok(number))
}

fn failing(_: u32) -> Ready<Result<u32, TestError>> {
    ready(Err(TestError::Failed))
}

#[test]
fn call_that_succeeds_does_not_allocate() {
    let inner = || service_fn(healthy);
    assert_eq!(allocations(FallbackLayer::value(7).layer(inner())), 0);
    let page = |_, _: Result<&u32, &TestError>| 7;
    assert_eq!(allocations(FallbackLayer::answer(page).layer(inner())), 0);
    assert_eq!(allocations(FallbackLayer::service(inner()).layer(inner())), 0);
}

#[test]
fn only_an_alternative_allocates_for_an_answer_and_only_once() {
    let inner = || service_fn(failing);
    assert_eq!(allocations(FallbackLayer::value(7).layer(inner())), 0);
    let page = |_, _: Result<&u32, &TestError>| 7;
    assert_eq!(allocations(FallbackLayer::answer(page).layer(inner())), 0);
    assert_eq!(allocations(FallbackLayer::service(service_fn(healthy)).layer(inner())), 1);
}

#[test]
fn wait_for_readiness_in_the_call_allocates_once() {
    let layer = FallbackLayer::value(7).await_ready();
    assert_eq!(allocations(layer.layer(service_fn(healthy))), 1);
}
