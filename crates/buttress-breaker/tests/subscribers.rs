//! Subscribers of events that panic or ask the circuits. In a process of its own, because it records everything.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
};

use buttress_breaker::{Backoff, BreakerHandle, BreakerLayer, CircuitState, KeyedCircuits};
use buttress_core::BoxError;
use tower::{Layer, ServiceExt, service_fn};
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
    subscriber::with_default,
};

/// Panics at its first event.
struct Panicking(AtomicBool);

impl Subscriber for Panicking {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        assert!(self.0.swap(true, Ordering::Relaxed), "on purpose");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn panics(f: impl FnOnce()) {
    let subscriber = Panicking(AtomicBool::new(false));
    with_default(subscriber, || catch_unwind(AssertUnwindSafe(f))).unwrap_err();
}

/// Asks and changes everything at each event, at most once inside itself.
struct Calling(BreakerHandle<KeyedCircuits<u32>>, AtomicBool);

impl Subscriber for Calling {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        if !self.1.swap(true, Ordering::Relaxed) {
            let _ = (self.0.snapshot(), self.0.keys());
            self.0.set_rules(self.0.rules());
            for (_, circuit) in self.0.circuits() {
                circuit.open();
                drop(circuit.isolate());
            }
            self.1.store(false, Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A lock that is held during an event would hang here.
#[test]
fn subscriber_may_ask_and_change_the_circuits_at_each_event() {
    let layer = BreakerLayer::new().open_for(Backoff::none()).keyed(|key: &u32| Some(*key));
    let handle = layer.handle();
    let service = layer.layer(service_fn(async |_: u32| Err::<(), _>(BoxError::from("down"))));
    let call = || {
        let mut call = tokio_test::task::spawn(service.clone().oneshot(7));
        tokio_test::assert_ready_err!(call.poll());
    };
    with_default(Calling(handle.clone(), AtomicBool::new(false)), || {
        for _ in 0..20 {
            call();
        }
        let circuit = handle.for_key(&7).unwrap();
        circuit.open();
        call();
        drop(circuit.isolate());
    });
    assert!(handle.opened() > 4, "{handle:?}");
}

#[test]
fn isolation_that_nobody_holds_ends_if_its_event_panics() {
    let handle = BreakerLayer::new().handle();
    panics(|| drop(handle.isolate()));
    assert_eq!(handle.state(), CircuitState::Closed);
    let isolation = handle.isolate();
    assert_eq!(handle.state(), CircuitState::Isolated);
    drop(isolation);
    assert_eq!(handle.state(), CircuitState::Closed);
}

#[test]
fn probe_whose_event_panics_gives_its_place_back() {
    let layer = BreakerLayer::new().open_for(Backoff::none()).probes(1, 1);
    let handle = layer.handle();
    let service = layer.layer(service_fn(async |()| Ok::<_, BoxError>(())));
    handle.open();
    let call = || tokio_test::task::spawn(service.clone().oneshot(()));
    panics(|| drop(call().poll()));
    assert_eq!(handle.state(), CircuitState::HalfOpen);
    tokio_test::assert_ready_ok!(call().poll());
    assert_eq!((handle.state(), handle.rejected()), (CircuitState::Ramp, 0));
}
