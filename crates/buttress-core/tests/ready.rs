//! `take_ready` and `check`.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll, Waker},
};

use buttress_core::{Check, take_ready};
use tower_service::Service;

/// A service that notes whether this instance was polled ready.
#[derive(Debug, Default)]
struct Reserving {
    ready: bool,
}

impl Clone for Reserving {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<u32> for Reserving {
    type Response = u32;
    type Error = Infallible;
    type Future = Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        assert!(self.ready, "called without being ready");
        ready(Ok(request))
    }
}

#[test]
fn the_instance_that_was_ready_is_taken_and_a_fresh_clone_is_left() {
    let mut service = Reserving::default().check::<u32>();
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    let mut taken = take_ready(&mut service);
    assert!(taken.ready);
    assert!(!service.ready);
    drop(taken.call(1));
}
