use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

use super::attempt::{CountState, retry_ambient};
use crate::Attempt;

/// Stands for a count that several layers share, and that is to see each call and each outcome once:
/// the account of a retry budget.
///
/// A layer calls and polls its inner service [under](Self::run) its tally. A layer further in that shares
/// the tally then knows that the call [is not new](Self::is_new_call), and tells the one outside that
/// it has [counted](Self::mark_counted) the outcome.
///
/// Both travel in a list per thread that is entered around `call` and around each poll, so they reach
/// what runs inside, in the same poll. They do not reach a spawned task or tower's `Buffer`. A flight
/// that many callers share is inside the call of the one who polls it. The list holds
/// 16 layers; those further in are not entered in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SharedCount(u64);

impl SharedCount {
    /// A tally of its own.
    #[expect(clippy::new_without_default, reason = "each one differs")]
    pub fn new() -> Self {
        Self(NEXT.fetch_add(FLAGS + 1, Ordering::Relaxed))
    }

    /// The same tally for a layer that does not count calls. A layer further in then counts them.
    #[must_use]
    pub const fn without_calls(self) -> Self {
        Self(self.0 | BLIND)
    }

    /// Whether this is a tally for layers that count calls.
    pub const fn counts_calls(self) -> bool {
        self.0 & BLIND == 0
    }

    /// Whether the call that begins now has not been counted yet: no layer outside counts it, and it
    /// is no repetition by a layer outside.
    #[inline]
    pub fn is_new_call(self) -> bool {
        self.counts_calls()
            && (retry_ambient(|ambient| ambient.state.get().depth()) == 0 || self.is_new_inside())
    }

    /// Whether a layer outside repeats the call that is being run.
    pub fn is_repeated() -> bool {
        any(|frame| frame & REPEATED != 0)
    }

    /// Tells the layers outside that share the tally that the outcome being returned is counted.
    pub fn mark_counted(self) {
        entered(|frame| {
            if frame.get() & !FLAGS == self.0 & !FLAGS {
                frame.set(frame.get() | COUNTED);
            }
            false
        });
    }

    /// Runs `f`, which is `attempt` of a call of a layer with this tally. The attempt is ambient for `f`.
    /// What was ambient before is restored, also when `f` panics.
    #[inline]
    pub fn run<R>(self, attempt: Attempt, f: impl FnOnce() -> R) -> R {
        let _leave = self.enter(attempt);
        f()
    }

    /// The same, and notes in `told` what the layers inside have told meanwhile.
    #[inline]
    pub fn run_and_report<R>(
        self,
        attempt: Attempt,
        told: &mut InnerReport,
        f: impl FnOnce() -> R,
    ) -> R {
        let leave = self.enter(attempt);
        let result = f();
        *told = retry_ambient(|ambient| InnerReport(ambient.state.get()));
        drop(leave);
        result
    }

    #[inline]
    fn enter(self, attempt: Attempt) -> Leave {
        retry_ambient(|ambient| {
            let leave = Leave(ambient.attempt.replace(attempt), ambient.state.get());
            if let Some(place) = ambient.frames.get(leave.1.depth()) {
                place.set(self.0 | u64::from(attempt.previous_attempts() > 0));
            }
            ambient.state.set(leave.1.deeper());
            leave
        })
    }

    #[cold]
    fn is_new_inside(self) -> bool {
        !any(|frame| frame & !COUNTED == self.0 || frame & REPEATED != 0)
    }
}

/// What the layers inside tell beside an outcome.
#[derive(Clone, Copy, Debug)]
pub struct InnerReport(CountState);

impl InnerReport {
    /// Nothing.
    pub const EMPTY: Self = Self(CountState::NONE);

    /// Whether a layer has raised [`Signals::gave_up`](crate::Signals::gave_up).
    #[inline]
    pub fn gave_up(self) -> bool {
        self.0.gave_up()
    }

    /// Whether a layer that shares the tally has counted the outcome.
    ///
    /// Ask at once: it is known until the next layer enters a tally.
    #[inline]
    pub fn is_counted(self) -> bool {
        let place = self.0.depth().checked_sub(1);
        retry_ambient(|ambient| {
            let frame = place.and_then(|place| ambient.frames.get(place));
            frame.is_some_and(|frame| frame.get() & COUNTED != 0)
        })
    }
}

fn any(is_it: impl Fn(u64) -> bool) -> bool {
    entered(|frame| is_it(frame.get()))
}

/// Whether `is_it` holds for the frame of a layer outside. Those further in are not looked at then.
fn entered(is_it: impl Fn(&Cell<u64>) -> bool) -> bool {
    retry_ambient(|ambient| ambient.frames.iter().take(ambient.state.get().depth()).any(is_it))
}

struct Leave(Attempt, CountState);

impl Drop for Leave {
    #[inline]
    fn drop(&mut self) {
        retry_ambient(|ambient| {
            ambient.attempt.set(self.0);
            ambient.state.set(self.1);
        });
    }
}

/// The flags fill the bits below the number of a tally.
static NEXT: AtomicU64 = AtomicU64::new(FLAGS + 1);

/// Set where the attempt is a repetition.
const REPEATED: u64 = 1;
const COUNTED: u64 = 2;
const BLIND: u64 = 4;
const FLAGS: u64 = 7;
