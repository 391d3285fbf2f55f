//! `take_ready`, `give_back_ready`, `seeds` and `check`.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll, Waker},
};

use buttress_core::{
    By, ByMode, Check, Classify, Plain, Rejection, SeedHint, Verdict, give_back_ready, seeds,
    take_ready,
};
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

/// A classifier of a user knows no hints, so its own seed is asked for.
#[test]
fn classifier_without_hints_captures_its_seed() {
    #[derive(Clone)]
    struct ByRequest;

    impl Classify<u32, u32, Rejection> for ByRequest {
        type Seed = u32;

        fn seed(&self, request: &u32) -> u32 {
            *request
        }

        fn classify(&self, seed: &u32, _: Result<&u32, &Rejection>) -> Verdict {
            if *seed == 1 { Verdict::Success } else { Verdict::Transient }
        }
    }

    let ((), (seed, ())) = seeds::<_, _, u32, u32, Rejection>(&Plain, &By(ByRequest), &1);
    assert_eq!(seed, 1);
    assert_eq!(ByRequest.seed_hinted(&7, SeedHint::new(3)), 7);
}
