use std::{
    future::Future,
    hint::black_box,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tower::Service;

use crate::Source;

/// Calls `service` in rounds of 64 concurrent callers, all with the same key.
///
/// In each round all callers make their call before `source`, the inner service, releases the calls that
/// are held.
///
/// # Panics
///
/// If a caller gets no response, or still waits after 1,000 polls.
pub(crate) fn drive_concurrent<S>(mut service: S, source: &Source, calls: u64) -> usize
where
    S: Service<u64, Response = u64>,
{
    let mut slots: Vec<_> = (0..CALLERS).map(|_| CallSlot::empty()).collect();
    let mut left = usize::try_from(calls).unwrap_or(usize::MAX);
    while left > 0 {
        let callers = left.min(CALLERS);
        left -= callers;
        let mut waiting = callers;
        for slot in slots.iter_mut().take(callers) {
            waiting -= usize::from(slot.call(black_box(&mut service)));
        }
        source.release();
        for polls in 0.. {
            if waiting == 0 {
                break;
            }
            assert!(polls < MAX_POLLS, "{waiting} callers still wait after {polls} polls each");
            for slot in &mut slots {
                waiting -= usize::from(slot.poll());
            }
        }
    }
    size_of::<S::Future>()
}

/// Memory for the future of a call. Later calls reuse the memory, so no call allocates.
struct CallSlot<F>(Pin<Box<Option<F>>>);

impl<F> CallSlot<F> {
    fn empty() -> Self {
        Self(Box::pin(None))
    }

    /// Makes a call and polls the future once. Returns `true` if the call has completed.
    fn call<S>(&mut self, service: &mut S) -> bool
    where
        S: Service<u64, Response = u64, Future = F>,
        F: Future<Output = Result<u64, S::Error>>,
    {
        let mut cx = Context::from_waker(Waker::noop());
        while service.poll_ready(&mut cx).is_pending() {}
        self.0.set(Some(service.call(black_box(KEY))));
        self.poll()
    }

    /// Polls the call. Returns `true` if this poll has completed the call.
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
const MAX_POLLS: u32 = 1_000;
pub(crate) const KEY: u64 = 7;
