//! `take_ready`, `give_back_ready`, `seeds` and `check`.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll, Waker},
};

use buttress_core::{ByMode, Check, Plain, Rejection, give_back_ready, seeds, take_ready};
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
fn take_ready_takes_the_ready_instance_and_leaves_a_fresh_clone() {
    let mut service = Reserving::default().check::<u32>();
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    let mut taken = take_ready(&mut service);
    assert!(taken.ready);
    assert!(!service.ready);
    drop(taken.call(1));
}

#[test]
fn give_back_ready_leaves_a_fresh_clone() {
    let mut service = Reserving::default();
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    give_back_ready(&mut service);
    assert!(!service.ready);
}

#[test]
fn seeds_returns_the_seed_of_the_mode_and_of_the_judge() {
    let ((), ()) = seeds::<_, _, u32, u32, Rejection>(&Plain, &ByMode, &1);
}
