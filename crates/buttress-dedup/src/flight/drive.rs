use std::{
    any::Any,
    hash::Hash,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use buttress_core::Place;

use super::{Flight, Landing};
use crate::sync::atomic::Ordering;

/// What came of a flight's work.
pub(crate) enum Run<A, O> {
    /// This for everybody.
    Answer(A),
    /// This for whoever drove it, if nobody else waits.
    Own(O),
}

/// How a member's wait ended.
pub(crate) enum Flown<O> {
    /// The answer is there, or will never be.
    Answered,
    /// It is alone, and this is the outcome.
    Own(O),
    /// It drove the work, which panicked, with this.
    Panicked(Box<dyn Any + Send>),
}

impl<K, W, A> Flight<K, W, A>
where
    K: Hash + Eq + Send + Sync + 'static,
    W: Send + 'static,
    A: Landing + Send + Sync + 'static,
{
    /// Ready when there is an answer, or none will come. If the work needs it, this member drives it:
    /// `run` polls it, `share` makes an answer of an outcome that others wait for too, and `panicked` one
    /// of a panic.
    #[inline]
    pub(crate) fn poll<O>(
        self: &Arc<Self>,
        place: Place,
        cx: &mut Context<'_>,
        run: impl FnOnce(Pin<&mut W>, &mut Context<'_>) -> Poll<Run<A, O>>,
        share: impl FnOnce(O) -> A,
        panicked: impl FnOnce(Option<Pin<&mut W>>) -> A,
    ) -> Poll<Flown<O>> {
        let Some(mut turn) = ready!(self.relay.turn(place, 0, cx)) else {
            return Poll::Ready(Flown::Answered);
        };
        let terms = turn.terms();
        let Some(work) = turn.work().and_then(|home| home.as_mut().as_pin_mut()) else {
            return Poll::Ready(Flown::Answered);
        };
        let waker = Waker::from(Arc::clone(self));
        let step = || run(work, &mut Context::from_waker(&waker));
        match catch_unwind(AssertUnwindSafe(|| self.run(terms, step))) {
            Ok(Poll::Pending) => {
                turn.wait(cx);
                return Poll::Pending;
            }
            Ok(Poll::Ready(Run::Own(outcome))) => {
                let end = || {
                    // Nothing of the call is left but its place.
                    if let Some(home) = turn.work() {
                        home.set(None);
                    }
                    // To share is to run the user's `Clone`, or whatever makes another one of an error.
                    self.aloft.store(false, Ordering::Relaxed);
                    let has_ended = self.flights.end(self.launch.hash, self, &mut turn);
                    if has_ended { Ok(outcome) } else { Err(share(outcome)) }
                };
                // The key is dropped too.
                match catch_unwind(AssertUnwindSafe(end)) {
                    Ok(Ok(outcome)) => return Poll::Ready(Flown::Own(outcome)),
                    Ok(Err(answer)) => self.publish(answer),
                    Err(payload) => {
                        self.publish(panicked(None));
                        return Poll::Ready(Flown::Panicked(payload));
                    }
                }
            }
            Ok(Poll::Ready(Run::Answer(answer))) => self.publish(answer),
            Err(payload) => {
                self.publish(panicked(turn.work().and_then(|home| home.as_mut().as_pin_mut())));
                return Poll::Ready(Flown::Panicked(payload));
            }
        }
        Poll::Ready(Flown::Answered)
    }

    fn publish(&self, answer: A) {
        // There is none yet: the work, which is driven by one at a time, ends once.
        if self.answer.set(answer).is_ok() {
            self.settle(false);
        }
    }
}
