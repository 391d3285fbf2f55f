use std::cell::Cell;

/// Which try of a call is being run, ambient like the [`Deadline`](crate::Deadline).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    before: u32,
    /// How many of those before never reached the service.
    unseen: u32,
}

impl Attempt {
    /// The first try, which is also what is ambient where nobody retries.
    pub const FIRST: Self = Self { before: 0, unseen: 0 };

    /// The ambient attempt.
    #[inline]
    pub fn current() -> Self {
        Ambient::current().attempt
    }

    /// The try after this one.
    pub const fn next(self) -> Self {
        Self { before: self.before.saturating_add(1), ..self }
    }

    /// The try after this one, if this one never reached the service: a transparent retry of gRFC A6.
    /// It has a number of its own, but [`previous`](Self::previous) stays as it is.
    pub const fn transparent(self) -> Self {
        Self { unseen: self.unseen.saturating_add(1), ..self.next() }
    }

    /// Its number, from 1.
    pub const fn number(self) -> u32 {
        self.before.saturating_add(1)
    }

    /// How many tries before this one may have reached the service, as `grpc-previous-rpc-attempts`
    /// counts them.
    pub const fn previous(self) -> u32 {
        self.before.saturating_sub(self.unseen)
    }

    /// Runs `f` with this as the ambient attempt and restores what was there, also on panic.
    #[inline]
    pub fn with<R>(self, f: impl FnOnce() -> R) -> R {
        let before = Ambient::current();
        let _restore = RestoreAttempt(before.attempt);
        Ambient { attempt: self, ..before }.set();
        f()
    }
}

/// The mark of a layer that gave up on a failure after trying for itself.
///
/// A retry leaves it when it stops, and an outer retry that polls the failed call reads it: three
/// nested layers of three attempts make three calls, not 27. It works for any response and error
/// type, because it does not travel in them; it is seen where the outcome is returned in the same
/// poll, so not through a spawned task. A response that can carry the mark itself carries it instead
/// ([`Mark`](crate::Mark)).
#[derive(Clone, Copy, Debug)]
pub struct GaveUp;

impl GaveUp {
    /// Leaves the mark for the layer that is polling.
    pub fn mark() {
        Ambient { gave_up: true, ..Ambient::current() }.set();
    }

    /// Runs `f` and says whether the mark was left meanwhile.
    #[inline]
    pub fn watch<R>(f: impl FnOnce() -> R) -> (R, bool) {
        let before = Ambient::current();
        let restore = RestoreMark(before.gave_up);
        Ambient { gave_up: false, ..before }.set();
        let result = f();
        let marked = Ambient::current().gave_up;
        drop(restore);
        (result, marked)
    }
}

/// What is ambient for retries: in one cell, so that a retry enters and leaves it at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ambient {
    pub(crate) attempt: Attempt,
    /// How many layers have [entered](crate::Tally::inside) a tally.
    pub(crate) depth: u32,
    pub(crate) gave_up: bool,
}

impl Ambient {
    #[inline]
    pub(crate) fn current() -> Self {
        AMBIENT.get()
    }

    #[inline]
    pub(crate) fn set(self) {
        AMBIENT.set(self);
    }
}

struct RestoreAttempt(Attempt);

impl Drop for RestoreAttempt {
    #[inline]
    fn drop(&mut self) {
        Ambient { attempt: self.0, ..Ambient::current() }.set();
    }
}

struct RestoreMark(bool);

impl Drop for RestoreMark {
    #[inline]
    fn drop(&mut self) {
        Ambient { gave_up: self.0, ..Ambient::current() }.set();
    }
}

thread_local! {
    // `const` and without a destructor: no lazy initialisation, and usable while a thread ends.
    static AMBIENT: Cell<Ambient> =
        const { Cell::new(Ambient { attempt: Attempt::FIRST, depth: 0, gave_up: false }) };
}
