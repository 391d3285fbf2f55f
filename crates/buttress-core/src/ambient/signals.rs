use std::{cell::Cell, mem};

use super::{
    attempt::{RetryAmbient, retry_ambient},
    count_state::{CountState, SignalValues},
    spent::Spent,
};
use crate::Deadline;

/// Signals that a layer raises, beside an outcome, for the layer that polls it.
///
/// A signal works for any response and error type, because it does not travel in them. It is seen
/// if the outcome is returned in the same poll, so not through a spawned task. A response that can
/// carry the first signal itself carries it instead ([`MarkGaveUp`](crate::MarkGaveUp)).
///
/// A layer that returns an outcome in another poll than the one that produced it must
/// [`watch`](Self::watch) the poll that produced the outcome, and [`raise`](Self::raise) the signals
/// in the poll that returns it. Otherwise the layers around it see none. The same holds for a layer
/// that polls more than one call for an outcome: it passes on the signals of the outcome that it
/// returns, and [`spent`](Self::spent) of all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signals {
    /// A layer stopped after attempts of its own. An outer retry then makes no further attempt:
    /// three nested retries of three attempts make three calls, not 27.
    pub gave_up: bool,
    /// The deadline that ended the call, the latest of several.
    pub deadline: Option<Deadline>,
    /// The calls that inner layers made beside the first one, for this outcome.
    pub spent: Spent,
    /// The outcome stands in for a failure: a fallback answered, or a cache returned a stale entry
    /// instead of an error. Such an outcome must not be cached.
    pub degraded: bool,
}

impl Signals {
    /// Raises [`gave_up`](Self::gave_up) for the layer that is polling.
    pub fn raise_gave_up() {
        retry_ambient(|ambient| ambient.raise(CountState::GAVE_UP));
    }

    /// Raises [`deadline`](Self::deadline) for the layer that is polling. Of several, the latest is
    /// kept.
    ///
    /// An error type of the user's own may hide which deadline ended the call. The signal says so.
    pub fn raise_deadline(deadline: Deadline) {
        retry_ambient(|ambient| {
            ambient.raise_value(CountState::DEADLINE, |values| {
                values.deadline = values.deadline.max(Some(deadline));
            });
        });
    }

    /// Raises [`spent`](Self::spent) for the layer that is polling. Several are added up. Nothing
    /// is raised if `spent` is zero.
    pub fn raise_spent(spent: Spent) {
        if spent.is_zero() {
            return;
        }
        retry_ambient(|ambient| {
            ambient
                .raise_value(CountState::SPENT, |values| values.spent = values.spent.plus(spent));
        });
    }

    /// Raises [`degraded`](Self::degraded) for the layer that is polling.
    pub fn raise_degraded() {
        retry_ambient(|ambient| ambient.raise(CountState::DEGRADED));
    }

    /// Runs `f` and returns the signals that were raised meanwhile. The signals that were raised
    /// before are restored, also if `f` panics.
    #[inline]
    pub fn watch<R>(f: impl FnOnce() -> R) -> (R, Self) {
        let (result, signals) = Self::watch_raised(f);
        (result, signals.unwrap_or_default())
    }

    /// Does the same as [`watch`](Self::watch). Returns `None` if no signal was raised meanwhile.
    /// Then nothing is copied or compared.
    #[inline]
    pub fn watch_raised<R>(f: impl FnOnce() -> R) -> (R, Option<Self>) {
        // Nearly always nothing is raised, so nothing is put aside.
        if Self::any_raised() {
            let (result, signals) = Self::watch_among_others(f);
            return (result, Some(signals).filter(|signals| !signals.is_empty()));
        }
        let clear = ClearSignals;
        let result = f();
        let signals = Self::any_raised().then(Self::take);
        mem::forget(clear);
        (result, signals)
    }

    /// The layer outside has seen signals in this poll already, which are not those of `f`.
    #[cold]
    fn watch_among_others<R>(f: impl FnOnce() -> R) -> (R, Self) {
        let restore = retry_ambient(RestoreSignals::hide);
        let result = f();
        // Must be read before `restore` is dropped. The drop puts back the signals of the layer
        // outside, also if `f` panics.
        let signals = Self::take();
        drop(restore);
        (result, signals)
    }

    /// Returns whether any signal is raised now.
    ///
    /// A layer that passes most outcomes on in the poll that produced them asks this before the
    /// poll. If none is raised, the layer polls without [`watch`](Self::watch), and
    /// [takes](Self::take) the signals of the rare outcome that it holds back. The signals of all
    /// others stay raised, which costs nothing.
    #[inline]
    pub fn any_raised() -> bool {
        retry_ambient(|ambient| ambient.state.get().has_any())
    }

    /// Returns the raised signals, and raises them no more.
    #[inline]
    #[must_use = "signals that are not raised again are lost"]
    pub fn take() -> Self {
        retry_ambient(RetryAmbient::take_signals)
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
        Self::raise_spent(self.spent);
        if self.degraded {
            Self::raise_degraded();
        }
    }

    /// Whether no signal is raised.
    #[inline]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl RetryAmbient {
    fn raise(&self, signal: u32) {
        self.state.set(self.state.get().with(signal));
    }

    /// Raises a signal that has a value. Layers beyond the list of shared counts have no place for a
    /// value, and raise none.
    fn raise_value(&self, signal: u32, change: impl FnOnce(&mut SignalValues)) {
        let state = self.state.get();
        if let Some(place) = self.values.get(state.depth()) {
            let mut values = self.values_of(state);
            change(&mut values);
            place.set(values);
            self.raise(signal);
        }
    }

    /// The values of the signals raised in this state. A signal that is not raised has none, whatever
    /// an earlier layer left in the cell.
    fn values_of(&self, state: CountState) -> SignalValues {
        let values = self.values.get(state.depth()).map_or(SignalValues::NONE, Cell::get);
        SignalValues {
            deadline: values.deadline.filter(|_| state.has(CountState::DEADLINE)),
            spent: if state.has(CountState::SPENT) { values.spent } else { Spent::NONE },
        }
    }

    /// The signals that are raised now. They are no longer raised afterwards.
    #[inline]
    fn take_signals(&self) -> Signals {
        let state = self.state.get();
        // Nearly always nothing is raised, so the values are not read.
        if state.has_any() { self.take_raised_signals(state) } else { Signals::default() }
    }

    #[cold]
    fn take_raised_signals(&self, state: CountState) -> Signals {
        self.state.set(state.without_signals());
        self.signals_of(state)
    }

    /// The signals raised in this state.
    #[cold]
    pub(crate) fn signals_of(&self, state: CountState) -> Signals {
        let SignalValues { deadline, spent } = self.values_of(state);
        Signals {
            gave_up: state.has(CountState::GAVE_UP),
            deadline,
            spent,
            degraded: state.has(CountState::DEGRADED),
        }
    }
}

/// Takes back the signals that a call raised before it panicked. The layer outside had raised none.
struct ClearSignals;

impl Drop for ClearSignals {
    fn drop(&mut self) {
        retry_ambient(|ambient| ambient.state.set(ambient.state.get().without_signals()));
    }
}

/// Restores the signals of the layer outside. `drop` reads only its own fields, which is safe at
/// any point of unwinding.
struct RestoreSignals {
    state: CountState,
    values: SignalValues,
}

impl RestoreSignals {
    /// Takes the signals that are raised now away.
    fn hide(ambient: &RetryAmbient) -> Self {
        let state = ambient.state.get();
        let hidden = Self { state, values: ambient.values_of(state) };
        ambient.state.set(state.without_signals());
        hidden
    }
}

impl Drop for RestoreSignals {
    fn drop(&mut self) {
        retry_ambient(|ambient| {
            // The depth is the same: each layer that entered a count inside has left it.
            ambient.state.set(self.state);
            if let Some(place) = ambient.values.get(self.state.depth()) {
                place.set(self.values);
            }
        });
    }
}
