use std::{cell::Cell, fmt};

/// Which try of a call is being run, ambient like the [`Deadline`](crate::Deadline).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    // One word, so that entering and leaving is one move each: in the upper half how many tries came
    // before, in the lower how many of those may have reached the service.
    word: u64,
}

impl Attempt {
    /// The first try, which is also what is ambient where nobody retries.
    pub const FIRST: Self = Self { word: 0 };

    /// The ambient attempt.
    #[inline]
    pub fn current() -> Self {
        retry_ambient(|ambient| ambient.attempt.get())
    }

    /// The try after this one.
    pub const fn next(self) -> Self {
        Self::of(self.before().saturating_add(1), self.previous_attempts().saturating_add(1))
    }

    /// The try after this one, if this one never reached the service: a transparent retry of gRFC A6.
    /// It has a number of its own, but [`previous_attempts`](Self::previous_attempts) stays as it is.
    pub const fn transparent(self) -> Self {
        Self::of(self.before().saturating_add(1), self.previous_attempts())
    }

    /// Its number, from 1.
    pub const fn number(self) -> u32 {
        self.before().saturating_add(1)
    }

    /// How many tries before this one may have reached the service, as `grpc-previous-rpc-attempts`
    /// counts them.
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

    /// Runs `f` with this as the ambient attempt and restores what was there, also on panic.
    #[inline]
    pub fn with<R>(self, f: impl FnOnce() -> R) -> R {
        let _restore = Restore(retry_ambient(|ambient| ambient.attempt.replace(self)));
        f()
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, previous) = (self.number(), self.previous_attempts());
        f.debug_struct("Attempt").field("number", &number).field("previous", &previous).finish()
    }
}

/// What is ambient for retries: in one place, so that a retry looks for it once.
pub(crate) struct RetryAmbient {
    pub(crate) attempt: Cell<Attempt>,
    pub(crate) state: Cell<CountState>,
    /// The tallies that layers have entered.
    pub(crate) frames: [Cell<u64>; MOST_FRAMES],
}

#[inline]
pub(crate) fn retry_ambient<R>(f: impl FnOnce(&RetryAmbient) -> R) -> R {
    AMBIENT.with(f)
}

/// How many layers have [entered](crate::SharedCount) a tally, and the signal `gave_up` in the highest bit: one
/// word, so that a retry enters and leaves both at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountState(u32);

impl CountState {
    pub(crate) const NONE: Self = Self(0);

    #[inline]
    pub(crate) const fn depth(self) -> usize {
        (self.0 & !GAVE_UP) as usize
    }

    /// One layer further in, where nothing is raised yet.
    #[inline]
    pub(crate) const fn deeper(self) -> Self {
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

/// Puts the ambient attempt back. It reads nothing, so it is safe at any point of unwinding.
struct Restore(Attempt);

impl Drop for Restore {
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
