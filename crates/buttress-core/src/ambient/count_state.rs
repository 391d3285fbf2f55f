use super::spent::Spent;
use crate::Deadline;

/// The number of layers that have [entered](crate::SharedCount) a shared count, with the raised
/// signals in the highest bits.
///
/// A single word, so that a retry sets and restores both at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CountState(u32);

impl CountState {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const GAVE_UP: u32 = 1 << 31;
    pub(crate) const DEGRADED: u32 = 1 << 30;
    /// [`SignalValues::deadline`] is raised.
    pub(crate) const DEADLINE: u32 = 1 << 29;
    /// [`SignalValues::spent`] is raised.
    pub(crate) const SPENT: u32 = 1 << 28;

    const SIGNALS: u32 = Self::GAVE_UP | Self::DEGRADED | Self::DEADLINE | Self::SPENT;

    #[inline]
    pub(crate) const fn depth(self) -> usize {
        (self.0 & !Self::SIGNALS) as usize
    }

    /// The state inside one more layer, with no signal raised.
    #[inline]
    pub(crate) const fn deeper(self) -> Self {
        // Clearing the flags hides the signals of earlier inner calls from this one.
        Self((self.0 & !Self::SIGNALS) + 1)
    }

    /// Whether all of these `signals` are raised.
    #[inline]
    pub(crate) const fn has(self, signals: u32) -> bool {
        self.0 & signals == signals
    }

    /// Whether any signal is raised.
    #[inline]
    pub(crate) const fn has_any(self) -> bool {
        self.0 & Self::SIGNALS != 0
    }

    #[inline]
    pub(crate) const fn with(self, signals: u32) -> Self {
        Self(self.0 | signals)
    }

    /// The same depth with no signal raised.
    #[inline]
    pub(crate) const fn without_signals(self) -> Self {
        Self(self.0 & !Self::SIGNALS)
    }
}

/// The values of the signals that have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignalValues {
    pub(crate) deadline: Option<Deadline>,
    pub(crate) spent: Spent,
}

impl SignalValues {
    pub(crate) const NONE: Self = Self { deadline: None, spent: Spent::NONE };
}
