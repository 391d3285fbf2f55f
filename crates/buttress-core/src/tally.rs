use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::Attempt;

/// Stands for a count that several layers share, and that is to see each call and each outcome once:
/// the account of a retry budget.
///
/// A layer runs its inner service [`inside`](Self::inside) its tally. A layer further in that shares
/// the tally then knows that the call [is not new](Self::is_new_call), and tells the one outside that
/// it has [counted](Self::counted) the outcome.
///
/// Both travel in a list per thread that is entered around `call` and around each poll, so they reach
/// what runs inside, in the same poll. They do not reach a spawned task or tower's `Buffer`. A flight
/// that many callers share is inside the call of the one who polls it. The list holds
/// 16 layers; those further in are not entered in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tally(u64);

impl Tally {
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
        self.counts_calls() && (DEPTH.get() == 0 || self.is_new_inside())
    }

    /// Whether a layer outside repeats the call that is being run.
    pub fn is_repeated() -> bool {
        any(|frame| frame & REPEATED != 0)
    }

    /// Tells the layers outside that share the tally that the outcome being returned is counted.
    pub fn counted(self) {
        FRAMES.with(|frames| {
            for frame in frames.iter().take(DEPTH.get()) {
                if frame.get() & !FLAGS == self.0 & !FLAGS {
                    frame.set(frame.get() | COUNTED);
                }
            }
        });
    }

    /// Runs `f`, which is the given attempt of a call that this tally has seen, and says whether an
    /// outcome was [counted](Self::counted) meanwhile. The list is restored also when `f` panics.
    #[inline]
    pub fn inside<R>(self, attempt: Attempt, f: impl FnOnce() -> R) -> (R, bool) {
        let leave = Leave(DEPTH.get());
        let frame = if attempt.previous() == 0 { self.0 } else { self.0 | REPEATED };
        FRAMES.with(|frames| {
            if let Some(place) = frames.get(leave.0) {
                place.set(frame);
            }
        });
        DEPTH.set(leave.0 + 1);
        let result = f();
        (result, leave.is_counted())
    }

    #[cold]
    fn is_new_inside(self) -> bool {
        !any(|frame| frame & !COUNTED == self.0 || frame & REPEATED != 0)
    }
}

fn any(is_it: impl Fn(u64) -> bool) -> bool {
    FRAMES.with(|frames| frames.iter().take(DEPTH.get()).any(|frame| is_it(frame.get())))
}

struct Leave(usize);

impl Leave {
    #[inline]
    fn is_counted(&self) -> bool {
        FRAMES.with(|frames| frames.get(self.0).is_some_and(|frame| frame.get() & COUNTED != 0))
    }
}

impl Drop for Leave {
    #[inline]
    fn drop(&mut self) {
        DEPTH.set(self.0);
    }
}

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static FRAMES: [Cell<u64>; MOST] = const { [const { Cell::new(0) }; MOST] };
}

/// The flags fill the bits below the number of a tally.
static NEXT: AtomicU64 = AtomicU64::new(FLAGS + 1);

const MOST: usize = 16;
const REPEATED: u64 = 1;
const COUNTED: u64 = 2;
const BLIND: u64 = 4;
const FLAGS: u64 = 7;
