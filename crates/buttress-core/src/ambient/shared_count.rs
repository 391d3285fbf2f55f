use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{attempt::retry_ambient, count_state::CountState};
use crate::{Attempt, Signals};

/// The identity of a count that several layers share, such as the balance of a retry budget. The
/// shared count sees each call and each outcome once.
///
/// A layer calls and polls its inner service inside [`run`](Self::run). A layer further in that
/// shares the count then knows that the call [is not new](Self::is_new_call), and reports to
/// the outer layer that the outcome is [counted](Self::mark_counted).
///
/// Both facts travel in a thread-local list that layers enter around `call` and around each poll.
/// So they reach the layers that run inside the same poll. They reach neither a spawned task nor
/// tower's `Buffer`. A flight that many callers share runs inside the call of the member that polls
/// it. The list holds 16 layers, and layers further in are not entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SharedCount(u64);

impl SharedCount {
    /// Creates a count that differs from all others.
    #[expect(clippy::new_without_default, reason = "each one differs")]
    pub fn new() -> Self {
        // Relaxed: the numbers need only differ, and publish no other memory.
        Self(NEXT.fetch_add(FLAGS + 1, Ordering::Relaxed))
    }

    /// Returns the same count for a layer that does not count calls. Layers further in count them
    /// instead.
    #[must_use]
    pub const fn without_calls(self) -> Self {
        Self(self.0 | BLIND)
    }

    /// Returns whether this count is for layers that count calls.
    pub const fn counts_calls(self) -> bool {
        self.0 & BLIND == 0
    }

    /// Returns whether the starting call is not counted yet: no outer layer counts the call, and
    /// the call is no repetition by an outer layer.
    #[inline]
    pub fn is_new_call(self) -> bool {
        self.counts_calls()
            && (retry_ambient(|ambient| ambient.state.get().depth()) == 0 || self.is_new_inside())
    }

    /// Returns whether the running call is a repetition by an outer layer.
    pub fn is_repeated() -> bool {
        any(|frame| frame & REPEATED != 0)
    }

    /// Reports to the outer layers that share the count that the returned outcome is counted.
    pub fn mark_counted(self) {
        entered(|frame| {
            // Every frame of the same count, because an outer layer may share it across layers in
            // between.
            if frame.get() & !FLAGS == self.0 & !FLAGS {
                frame.set(frame.get() | COUNTED);
            }
            false
        });
    }

    /// Runs `f`, which is the given `attempt` of a call of a layer with this count.
    ///
    /// The attempt is ambient for `f`, and is [spare](Attempt::spare) also if the former ambient
    /// attempt is. The former ambient values are restored, also if `f` panics.
    #[inline]
    pub fn run<R>(self, attempt: Attempt, f: impl FnOnce() -> R) -> R {
        let _leave = self.enter(attempt);
        f()
    }

    /// Does the same as [`run`](Self::run), and stores in `told` the report of the inner layers.
    #[inline]
    pub fn run_and_report<R>(
        self,
        attempt: Attempt,
        told: &mut InnerReport,
        f: impl FnOnce() -> R,
    ) -> R {
        let leave = self.enter(attempt);
        let result = f();
        // Before `leave` restores the outer state, which has neither the signal nor the depth of
        // this layer.
        told.state = retry_ambient(|ambient| ambient.state.get());
        drop(leave);
        result
    }

    #[inline]
    fn enter(self, attempt: Attempt) -> Leave {
        retry_ambient(|ambient| {
            let state = ambient.state.get();
            let outer = ambient.attempt.get();
            ambient.attempt.set(attempt.within(outer));
            let leave = Leave { attempt: outer, state };
            // Beyond `MOST_FRAMES` the depth still grows, so that leaving stays symmetric, but no
            // frame is stored.
            if let Some(place) = ambient.frames.get(state.depth()) {
                place.set(self.0 | u64::from(attempt.previous_attempts() > 0));
            }
            ambient.state.set(state.deeper());
            leave
        })
    }

    #[cold]
    fn is_new_inside(self) -> bool {
        // Compared with the flag `BLIND`: an outer layer `without_calls` leaves the count to this
        // layer. A repetition by any outer layer is no new call, whatever its count.
        !any(|frame| frame & !COUNTED == self.0 || frame & REPEATED != 0)
    }
}

/// The report of the inner layers beside an outcome.
#[derive(Clone, Copy, Debug)]
pub struct InnerReport {
    /// The state inside the reporting layer.
    state: CountState,
}

impl InnerReport {
    /// An empty report.
    pub const EMPTY: Self = Self { state: CountState::NONE };

    /// Returns the signals that inner layers raised.
    ///
    /// They are no longer raised for the layers outside. A layer that returns the outcome
    /// [raises](Signals::raise) them again.
    ///
    /// Ask at once: the values are lost when the next layer enters a count.
    #[inline]
    pub fn signals(&self) -> Signals {
        // The values of the reporting layer are still there: leaving lowers the depth and clears
        // none.
        if !self.has_signals() {
            return Signals::default();
        }
        retry_ambient(|ambient| ambient.signals_of(self.state))
    }

    /// Returns whether inner layers raised any signal.
    #[inline]
    pub const fn has_signals(&self) -> bool {
        self.state.has_any()
    }

    /// Returns whether an inner layer raised [`Signals::gave_up`].
    #[inline]
    pub const fn gave_up(&self) -> bool {
        self.state.has(CountState::GAVE_UP)
    }

    /// Returns whether an inner layer that shares the count has counted the outcome.
    ///
    /// Ask at once: the answer is lost when the next layer enters a count.
    #[inline]
    pub fn is_counted(&self) -> bool {
        let place = self.state.depth().checked_sub(1);
        retry_ambient(|ambient| {
            // The frame of the reporting layer is still there: leaving lowers the depth and clears
            // no frame.
            let frame = place.and_then(|place| ambient.frames.get(place));
            frame.is_some_and(|frame| frame.get() & COUNTED != 0)
        })
    }
}

fn any(is_it: impl Fn(u64) -> bool) -> bool {
    entered(|frame| is_it(frame.get()))
}

/// Whether `is_it` holds for the frame of an outer layer. Stops at the first.
fn entered(is_it: impl Fn(&Cell<u64>) -> bool) -> bool {
    retry_ambient(|ambient| ambient.frames.iter().take(ambient.state.get().depth()).any(is_it))
}

/// Restores the attempt, the depth, and the signals of the layer outside. `drop` reads only its own
/// fields, which is safe at any point of unwinding.
struct Leave {
    attempt: Attempt,
    state: CountState,
}

impl Drop for Leave {
    #[inline]
    fn drop(&mut self) {
        retry_ambient(|ambient| {
            ambient.attempt.set(self.attempt);
            ambient.state.set(self.state);
        });
    }
}

/// The number of the next count, above the bits of the flags.
static NEXT: AtomicU64 = AtomicU64::new(FLAGS + 1);

/// The attempt is a repetition.
const REPEATED: u64 = 1;
/// The outcome is counted.
const COUNTED: u64 = 2;
/// The layer does not count calls.
const BLIND: u64 = 4;
const FLAGS: u64 = 7;
