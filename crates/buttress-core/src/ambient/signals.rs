use std::cell::Cell;

use super::attempt::retry_ambient;
use crate::Deadline;

/// Signals that a layer raises, beside an outcome, for the layer that polls it.
///
/// A signal works for any response and error type, because it does not travel in them. It is seen
/// if the outcome is returned in the same poll, so not through a spawned task. A response that can
/// carry the first signal itself carries it instead ([`MarkGaveUp`](crate::MarkGaveUp)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signals {
    /// A layer stopped after attempts of its own. An outer retry then makes no further attempt:
    /// three nested retries of three attempts make three calls, not 27.
    pub gave_up: bool,
    /// The deadline that ended the call, the latest of several.
    pub deadline: Option<Deadline>,
}

impl Signals {
    /// Raises [`gave_up`](Self::gave_up) for the layer that is polling.
    pub fn raise_gave_up() {
        retry_ambient(|ambient| ambient.state.set(ambient.state.get().with_gave_up(true)));
    }

    /// Raises [`deadline`](Self::deadline) for the layer that is polling. Of several, the latest is
    /// kept.
    ///
    /// An error type of the user's own may hide which deadline ended the call. The signal says so.
    pub fn raise_deadline(deadline: Deadline) {
        DEADLINE.set(DEADLINE.get().max(Some(deadline)));
    }

    /// Runs `f` and returns the signals that were raised meanwhile. The signals that were raised
    /// before are restored, also if `f` panics.
    #[inline]
    pub fn watch<R>(f: impl FnOnce() -> R) -> (R, Self) {
        let state = retry_ambient(|ambient| ambient.state.get());
        let restore = RestoreSignals { gave_up: state.gave_up(), deadline: DEADLINE.replace(None) };
        // Nearly always nothing is raised, so nothing is written.
        if state.gave_up() {
            retry_ambient(|ambient| ambient.state.set(state.with_gave_up(false)));
        }
        let result = f();
        // Must be read before `restore` is dropped. The drop puts back the signals of the layer
        // outside, also if `f` panics.
        let gave_up = retry_ambient(|ambient| ambient.state.get().gave_up());
        let signals = Self { gave_up, deadline: DEADLINE.get() };
        drop(restore);
        (result, signals)
    }

    /// Raises all of these signals again, for another caller of the same outcome.
    #[cold]
    pub fn raise(self) {
        if self.gave_up {
            Self::raise_gave_up();
        }
        if let Some(deadline) = self.deadline {
            Self::raise_deadline(deadline);
        }
    }

    /// Whether no signal is raised.
    #[inline]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Restores the signals of the layer outside. `drop` reads only its own fields, which is safe at
/// any point of unwinding.
struct RestoreSignals {
    gave_up: bool,
    deadline: Option<Deadline>,
}

impl Drop for RestoreSignals {
    #[inline]
    fn drop(&mut self) {
        DEADLINE.set(self.deadline);
        retry_ambient(|ambient| {
            let state = ambient.state.get();
            if state.gave_up() != self.gave_up {
                ambient.state.set(state.with_gave_up(self.gave_up));
            }
        });
    }
}

thread_local! {
    // `const` and without a destructor: no lazy initialisation, and usable while a thread ends.
    static DEADLINE: Cell<Option<Deadline>> = const { Cell::new(None) };
}
