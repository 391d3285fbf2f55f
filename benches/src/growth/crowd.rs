use std::{
    collections::VecDeque,
    future::Future,
    hint::black_box,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tower::Service;

/// A service and the calls that are in flight there. Each call is in a box.
pub(crate) struct Crowd<S: Service<u64>> {
    service: S,
    others: VecDeque<Pin<Box<S::Future>>>,
}

impl<S: Service<u64, Response = u64>> Crowd<S> {
    /// Calls `service` with each of `requests`. All these calls stay in flight.
    ///
    /// # Panics
    ///
    /// If a call completes.
    pub(crate) fn new(service: S, requests: impl Iterator<Item = u64>) -> Self {
        let mut crowd = Self { service, others: VecDeque::new() };
        for request in requests {
            crowd.add(request);
        }
        crowd
    }

    /// Makes a call that completes.
    pub(crate) fn complete(&mut self, request: u64) {
        let mut call = self.start(request);
        while poll(&mut call).is_pending() {}
    }

    /// Makes a call that waits, and leaves.
    pub(crate) fn leave(&mut self, request: u64) {
        let mut call = self.start(request);
        assert!(poll(&mut call).is_pending(), "a call that should wait has completed");
    }

    /// Completes the oldest call, which lets the second oldest begin, and makes another call, which waits.
    pub(crate) fn take_turns(&mut self, request: u64) {
        let mut oldest = self.others.pop_front();
        assert!(oldest.as_mut().is_some_and(|call| poll(call).is_ready()), "no call completes");
        drop(oldest);
        let next = self.others.front_mut();
        assert!(next.is_some_and(|call| poll(call).is_pending()), "no call begins");
        self.add(request);
    }

    fn add(&mut self, request: u64) {
        let mut call = self.start(request);
        assert!(poll(&mut call).is_pending(), "a call that should stay in flight has completed");
        self.others.push_back(call);
    }

    fn start(&mut self, request: u64) -> Pin<Box<S::Future>> {
        let mut cx = Context::from_waker(Waker::noop());
        let service = black_box(&mut self.service);
        while service.poll_ready(&mut cx).is_pending() {}
        Box::pin(service.call(black_box(request)))
    }
}

/// Polls a call once. Returns whether the call succeeded.
///
/// # Panics
///
/// If the call fails.
fn poll<F: Future<Output = Result<u64, E>>, E>(call: &mut Pin<Box<F>>) -> Poll<()> {
    let mut cx = Context::from_waker(Waker::noop());
    black_box(call).as_mut().poll(&mut cx).map(|outcome| assert!(outcome.is_ok(), "rejected"))
}
