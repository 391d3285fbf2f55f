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
        AMBIENT.get()
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
        let before = AMBIENT.get();
        if before == self {
            return f();
        }
        AMBIENT.set(self);
        let _restore = Restore(before);
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
        GAVE_UP.set(true);
    }

    /// Runs `f` and says whether the mark was left meanwhile.
    #[inline]
    pub fn watch<R>(f: impl FnOnce() -> R) -> (R, bool) {
        let restore = RestoreMark(GAVE_UP.replace(false));
        let result = f();
        let marked = GAVE_UP.get();
        drop(restore);
        (result, marked)
    }
}

struct Restore(Attempt);

impl Drop for Restore {
    #[inline]
    fn drop(&mut self) {
        AMBIENT.set(self.0);
    }
}

struct RestoreMark(bool);

impl Drop for RestoreMark {
    #[inline]
    fn drop(&mut self) {
        GAVE_UP.set(self.0);
    }
}

thread_local! {
    static AMBIENT: Cell<Attempt> = const { Cell::new(Attempt::FIRST) };
    static GAVE_UP: Cell<bool> = const { Cell::new(false) };
}
