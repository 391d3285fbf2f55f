/// Calls that layers made beside the first call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Spent {
    /// The attempts after the first that a retry made. `u16::MAX` stands for more, too.
    pub retries: u16,
    /// The spare calls that a hedge made. `u16::MAX` stands for more, too.
    pub hedges: u16,
}

impl Spent {
    pub(crate) const NONE: Self = Self::new(0, 0);

    /// Creates the value of its parts.
    #[inline]
    pub const fn new(retries: u16, hedges: u16) -> Self {
        Self { retries, hedges }
    }

    /// Returns the sum of both values. A part that does not fit becomes `u16::MAX`.
    #[inline]
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            retries: self.retries.saturating_add(other.retries),
            hedges: self.hedges.saturating_add(other.hedges),
        }
    }

    /// Returns whether both parts are zero.
    #[inline]
    pub const fn is_zero(self) -> bool {
        self.retries == 0 && self.hedges == 0
    }
}
