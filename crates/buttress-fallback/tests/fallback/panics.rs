//! Panics of the user's code.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll, Waker},
};

use buttress_core::Verdict;
use buttress_fallback::{FallbackLayer, FallbackSnapshot};
use buttress_testkit::{Probe, TestError, counts};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::support::{failing, tenfold};

/// Polls a call until it ends. Returns the message of its panic.
fn panic_of<S: Service<u32>>(service: S) -> Option<&'static str> {
    let mut call = pin!(service.oneshot(1));
    let mut cx = Context::from_waker(Waker::noop());
    let run = AssertUnwindSafe(|| while call.as_mut().poll(&mut cx).is_pending() {});
    catch_unwind(run).err().and_then(|panic| panic.downcast_ref().copied())
}

#[test]
fn panic_of_the_closure_passes_through() {
    let layer = FallbackLayer::answer(|_, _: Result<&u32, &TestError>| -> u32 { panic!("page") });
    let probe = failing(TestError::Failed);
    assert_eq!(panic_of(layer.layer(probe.clone())), Some("page"));
    assert!(probe.at_rest());
    assert_eq!(layer.handle().snapshot(), counts!(FallbackSnapshot { calls: 1 }));
}

/// A response whose clone panics.
#[derive(Debug)]
struct Fragile;

impl Clone for Fragile {
    fn clone(&self) -> Self {
        panic!("clone")
    }
}

#[test]
fn panic_of_the_clone_of_a_value_passes_through() {
    let layer = FallbackLayer::value(Fragile);
    let probe = Probe::new(|_: u32| Err::<Fragile, _>(TestError::Failed));
    assert_eq!(panic_of(layer.layer(probe.clone())), Some("clone"));
    assert!(probe.at_rest());
    assert_eq!(layer.handle().answered(), 0);
}

#[test]
fn panic_of_when_or_of_the_classifier_passes_through() {
    let layer = FallbackLayer::value(7);
    let service = layer.clone().when(|_| panic!("when")).layer(failing(TestError::Failed));
    assert_eq!(panic_of(service), Some("when"));
    let classify = |_: Result<&u32, &TestError>| -> Verdict { panic!("classify") };
    assert_eq!(panic_of(layer.classify(classify).layer(tenfold())), Some("classify"));
}

#[test]
fn panic_of_the_alternative_passes_through_and_frees_its_place() {
    let in_call = service_fn(|_: u32| {
        let panics = true;
        assert!(!panics, "call");
        std::future::ready(Ok::<u32, TestError>(1))
    });
    let layer = FallbackLayer::service(in_call).at_most(1);
    for _ in 0..3 {
        assert_eq!(panic_of(layer.layer(failing(TestError::Failed))), Some("call"));
        assert_eq!(layer.handle().in_flight(), 0);
    }
    let in_poll = service_fn(|_: u32| {
        let mut polls = 0;
        poll_fn(move |_| {
            polls += 1;
            assert!(polls < 2, "poll");
            Poll::<Result<u32, TestError>>::Pending
        })
    });
    let layer = FallbackLayer::service(in_poll).at_most(1);
    for _ in 0..3 {
        assert_eq!(panic_of(layer.layer(failing(TestError::Failed))), Some("poll"));
        assert_eq!(layer.handle().in_flight(), 0);
    }
    assert_eq!(layer.handle().full(), 0);
}

#[test]
fn panic_of_the_first_service_passes_through() {
    let first =
        service_fn(|_: u32| poll_fn(|_| -> Poll<Result<u32, TestError>> { panic!("first") }));
    let layer = FallbackLayer::value(7);
    assert_eq!(panic_of(layer.layer(first)), Some("first"));
    assert_eq!(layer.handle().answered(), 0);
}
