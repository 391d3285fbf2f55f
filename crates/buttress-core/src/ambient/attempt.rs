use std::{cell::Cell, fmt};

/// The attempt that is running, ambient like the [`Deadline`](crate::Deadline).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    // A single word, so that a layer sets and restores it at once. The upper half is the number of
    // earlier attempts, the lower half the number of those that may have reached the service.
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

    /// Returns the next attempt.
    pub const fn next(self) -> Self {
        Self::of(self.before().saturating_add(1), self.previous_attempts().saturating_add(1))
    }

    /// Returns the next attempt, if this attempt never reached the service: a transparent
    /// retry of gRFC A6.
    ///
    /// The number grows by 1. [`previous_attempts`](Self::previous_attempts) stays the same.
    pub const fn transparent(self) -> Self {
        Self::of(self.before().saturating_add(1), self.previous_attempts())
    }

    /// Returns the number of this attempt, from 1.
    pub const fn number(self) -> u32 {
        self.before().saturating_add(1)
    }

    /// Returns the number of earlier attempts that may have reached the service, as
    /// `grpc-previous-rpc-attempts` counts them.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub const fn previous_attempts(self) -> u32 {
        self.word as u32
    }

    const fn before(self) -> u32 {
        (self.word >> 32) as u32
    }

    const fn of(before: u32, previous: u32) -> Self {
        Self { word: (before as u64) << 32 | previous as u64 }
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
        f.debug_struct("Attempt").field("number", &number).field("previous", &previous).finish()
    }
}

/// All ambient values of retries, in one thread-local, for a single access per retry.
pub(crate) struct RetryAmbient {
    pub(crate) attempt: Cell<Attempt>,
    pub(crate) state: Cell<CountState>,
    /// The shared counts that layers have entered, from the outermost on.
    // Only the first `state.depth()` cells belong to running layers. `SharedCount::enter`
    // overwrites a cell before the depth grows, so leaving clears none.
    pub(crate) frames: [Cell<u64>; MOST_FRAMES],
}

#[inline]
pub(crate) fn retry_ambient<R>(f: impl FnOnce(&RetryAmbient) -> R) -> R {
    AMBIENT.with(f)
}

/// The number of layers that have [entered](crate::SharedCount) a shared count, with the signal
/// `gave_up` in the highest bit.
///
/// A single word, so that a retry sets and restores both at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountState(u32);

impl CountState {
    pub(crate) const NONE: Self = Self(0);

    #[inline]
    pub(crate) const fn depth(self) -> usize {
        (self.0 & !GAVE_UP) as usize
    }

    /// The state inside one more layer, with no signal raised.
    #[inline]
    pub(crate) const fn deeper(self) -> Self {
        // Clearing the flag hides the signals of earlier inner calls from this one.
        Self((self.0 & !GAVE_UP) + 1)
    }

    #[inline]
    pub(crate) const fn gave_up(self) -> bool {
        self.0 & GAVE_UP != 0
    }

    #[inline]
    pub(crate) const fn with_gave_up(self, gave_up: bool) -> Self {
        Self((self.0 & !GAVE_UP) | if gave_up { GAVE_UP } else { 0 })
    }
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
            frames: [const { Cell::new(0) }; MOST_FRAMES],
        }
    };
}

const GAVE_UP: u32 = 1 << 31;
const MOST_FRAMES: usize = 16;
