use std::{
    future::Future,
    hint::black_box,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tower::Service;

use crate::Source;

/// Calls `service` in rounds of 64 callers, who all ask for the same number before `source`, the service
/// inside, answers what it holds.
///
/// # Panics
///
/// If a caller got no answer, or still waits after a thousand polls.
pub(crate) fn drive_together<S>(mut service: S, source: &Source, calls: u64) -> usize
where
    S: Service<u64, Response = u64>,
{
    let mut seats: Vec<_> = (0..CALLERS).map(|_| Seat::empty()).collect();
    let mut left = usize::try_from(calls).unwrap_or(usize::MAX);
    while left > 0 {
        let callers = left.min(CALLERS);
        left -= callers;
        let mut waiting = callers;
        for seat in seats.iter_mut().take(callers) {
            waiting -= usize::from(seat.enter(black_box(&mut service)));
        }
        source.answer();
        for polls in 0.. {
            if waiting == 0 {
                break;
            }
            assert!(polls < PATIENCE, "{waiting} callers still wait after {polls} polls each");
            for seat in &mut seats {
                waiting -= usize::from(seat.poll());
            }
        }
    }
    size_of::<S::Future>()
}

/// Where the futures of one caller after the other are polled, without an allocation for each.
struct Seat<F>(Pin<Box<Option<F>>>);

impl<F> Seat<F> {
    fn empty() -> Self {
        Self(Box::pin(None))
    }

    /// Makes a call. `true` if it has ended at once.
    fn enter<S>(&mut self, service: &mut S) -> bool
    where
        S: Service<u64, Response = u64, Future = F>,
        F: Future<Output = Result<u64, S::Error>>,
    {
        let mut cx = Context::from_waker(Waker::noop());
        while service.poll_ready(&mut cx).is_pending() {}
        self.0.set(Some(service.call(black_box(KEY))));
        self.poll()
    }

    /// `true` if a call ended with this.
    fn poll<E>(&mut self) -> bool
    where
        F: Future<Output = Result<u64, E>>,
    {
        let mut cx = Context::from_waker(Waker::noop());
        let Some(future) = self.0.as_mut().as_pin_mut() else { return false };
        let Poll::Ready(outcome) = black_box(future).poll(&mut cx) else { return false };
        assert!(black_box(outcome).is_ok_and(|response| response == KEY), "no answer");
        self.0.set(None);
        true
    }
}

const CALLERS: usize = 64;
const PATIENCE: u32 = 1_000;
pub(crate) const KEY: u64 = 7;
