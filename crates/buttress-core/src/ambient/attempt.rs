use std::{cell::Cell, fmt};

use super::count_state::{CountState, SignalValues};

/// The attempt that is running, ambient like the [`Deadline`](crate::Deadline).
///
/// Attempts compare by their [number](Self::number) first, then by their
/// [previous attempts](Self::previous_attempts). Of two that are equal in both, the
/// [spare](Self::is_spare) attempt is the greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    // A single word, so that a layer sets and restores it at once. The upper half is the number of
    // earlier attempts. The next 31 bits are the number of those that may have reached the service.
    // The lowest bit is `SPARE`, so that the order is that of the numbers first.
    word: u64,
}

impl Attempt {
    /// The first attempt, which is ambient if no layer retries.
    pub const FIRST: Self = Self { word: 0 };

    /// Returns the ambient attempt.
    #[inline]
    pub fn current() -> Self {
        retry_ambient(|ambient| ambient.attempt.get())
    }

    /// Returns the next attempt. It is [spare](Self::spare) if this attempt is.
    pub const fn next(self) -> Self {
        let previous = self.previous_attempts();
        self.after(if previous < MOST_PREVIOUS { previous + 1 } else { previous })
    }

    /// Returns the next attempt, if this attempt never reached the service: a transparent
    /// retry of gRFC A6.
    ///
    /// The number grows by 1. [`previous_attempts`](Self::previous_attempts) stays the same. The
    /// next attempt is [spare](Self::spare) if this attempt is.
    pub const fn transparent(self) -> Self {
        self.after(self.previous_attempts())
    }

    /// Returns the same attempt as a spare one: a call that the caller can do without, because
    /// another call for the same request is running, such as a hedge.
    ///
    /// A layer below admits a spare call only if there is room for it now. The call is never
    /// queued, never a probe, and measures nothing. The bit is ambient only: it goes neither into
    /// the numbers of the attempt nor on the wire.
    #[doc(alias("hedge", "hedged"))]
    pub const fn spare(self) -> Self {
        Self { word: self.word | SPARE }
    }

    /// Returns the same attempt as one that is not [spare](Self::spare), for work that a spare call
    /// began and that other calls need.
    pub const fn not_spare(self) -> Self {
        Self { word: self.word & !SPARE }
    }

    /// Returns whether this attempt is [spare](Self::spare).
    #[inline]
    pub const fn is_spare(self) -> bool {
        self.word & SPARE != 0
    }

    /// Returns the same attempt, spare also if `outer` is.
    #[inline]
    pub(super) const fn within(self, outer: Self) -> Self {
        Self { word: self.word | (outer.word & SPARE) }
    }

    /// Returns the number of this attempt, from 1.
    pub const fn number(self) -> u32 {
        self.before().saturating_add(1)
    }

    /// Returns the number of earlier attempts that may have reached the service, as
    /// `grpc-previous-rpc-attempts` counts them. The number saturates at 2³¹ − 1.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub const fn previous_attempts(self) -> u32 {
        (self.word as u32) >> 1
    }

    const fn before(self) -> u32 {
        (self.word >> 32) as u32
    }

    /// The attempt after this one, of which `previous` may have reached the service.
    const fn after(self, previous: u32) -> Self {
        let before = self.before().saturating_add(1);
        Self { word: (before as u64) << 32 | (previous as u64) << 1 | (self.word & SPARE) }
    }

    /// Runs `f` with this as the ambient attempt, and restores the former value, also if `f`
    /// panics.
    #[inline]
    pub fn with<R>(self, f: impl FnOnce() -> R) -> R {
        // Bound to a name: `let _` would drop the guard at once, and restore the former attempt
        // before `f` runs. `Deadline::with` and `Criticality::with` do the same.
        let _restore = RestoreAttempt(retry_ambient(|ambient| ambient.attempt.replace(self)));
        f()
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, previous) = (self.number(), self.previous_attempts());
        f.debug_struct("Attempt")
            .field("number", &number)
            .field("previous", &previous)
            .field("spare", &self.is_spare())
            .finish()
    }
}

/// All ambient values of retries, in one thread-local, for a single access per retry.
pub(crate) struct RetryAmbient {
    pub(crate) attempt: Cell<Attempt>,
    pub(crate) state: Cell<CountState>,
    /// The values of the raised signals that have one, for each depth. Meaningless for a signal whose
    /// bit is not in `state`, so nearly every call leaves these cells untouched.
    // Each depth has its own, so that a layer that enters a count saves and restores none.
    pub(crate) values: [Cell<SignalValues>; MOST_FRAMES],
    /// The shared counts that layers have entered, from the outermost on.
    // Only the first `state.depth()` cells belong to running layers. `SharedCount::enter`
    // overwrites a cell before the depth grows, so leaving clears none.
    pub(crate) frames: [Cell<u64>; MOST_FRAMES],
}

#[inline]
pub(crate) fn retry_ambient<R>(f: impl FnOnce(&RetryAmbient) -> R) -> R {
    AMBIENT.with(f)
}

/// Restores the ambient attempt. `drop` reads only its own field, which is safe at any point of
/// unwinding.
struct RestoreAttempt(Attempt);

impl Drop for RestoreAttempt {
    #[inline]
    fn drop(&mut self) {
        retry_ambient(|ambient| ambient.attempt.set(self.0));
    }
}

thread_local! {
    // `const` and without a destructor: no lazy initialisation, and usable while a thread ends.
    static AMBIENT: RetryAmbient = const {
        RetryAmbient {
            attempt: Cell::new(Attempt::FIRST),
            state: Cell::new(CountState::NONE),
            values: [const { Cell::new(SignalValues::NONE) }; MOST_FRAMES],
            frames: [const { Cell::new(0) }; MOST_FRAMES],
        }
    };
}

/// The bit of a spare attempt.
const SPARE: u64 = 1;
/// The most previous attempts that fit beside the bit.
const MOST_PREVIOUS: u32 = u32::MAX >> 1;
const MOST_FRAMES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturated_numbers_leave_the_spare_bit_alone() {
        let last = Attempt { word: u64::MAX - SPARE };
        for (attempt, is_spare) in [(last, false), (last.spare(), true)] {
            for attempt in [attempt, attempt.next(), attempt.transparent()] {
                let numbers = (attempt.number(), attempt.previous_attempts());
                assert_eq!(numbers, (u32::MAX, MOST_PREVIOUS));
                assert_eq!(attempt.is_spare(), is_spare);
            }
        }
    }
}
