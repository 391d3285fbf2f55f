/// A share such as 20 %, held exactly in parts per million.
///
/// A ratio lies between 0 and [`Ratio::MAX`], which is 1000 to 1. A larger value counts as the
/// maximum. Decimal fractions of up to six places are exact, so three deposits at 0.3 are 0.9
/// tokens and never 1.
///
/// ```
/// use buttress_control::Ratio;
///
/// assert_eq!(Ratio::of(0.2), Ratio::percent(20));
/// assert_eq!(Ratio::of(f64::NAN), Ratio::ZERO);
/// assert_eq!(Ratio::percent(50).ceil_of(9), 5);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(u32);

impl Ratio {
    /// 0.
    pub const ZERO: Self = Self(0);
    /// 1000 to 1, the largest ratio.
    pub const MAX: Self = Self(1000 * MILLION);

    /// Parts per hundred: `percent(20)` is 0.2.
    #[inline]
    pub const fn percent(percent: u32) -> Self {
        Self::per_million(percent.saturating_mul(MILLION / 100))
    }

    /// Parts per million: `per_million(200_000)` is 0.2.
    #[inline]
    pub const fn per_million(parts: u32) -> Self {
        if parts > Self::MAX.0 { Self::MAX } else { Self(parts) }
    }

    /// The nearest millionth to a fraction: `of(0.2)` is 20 %.
    ///
    /// NaN and negative fractions count as 0, infinity as [`Ratio::MAX`].
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float cast saturates, and takes NaN and what is below zero to zero"
    )]
    pub fn of(fraction: f64) -> Self {
        Self::per_million((fraction * f64::from(MILLION)).round() as u32)
    }

    /// Returns the parts per million.
    #[inline]
    pub const fn parts_per_million(self) -> u32 {
        self.0
    }

    /// Returns this share of `whole`, rounded up. Example: the retries that a call may take of a
    /// balance.
    #[inline]
    pub fn ceil_of(self, whole: u64) -> u64 {
        let parts = u128::from(whole) * u128::from(self.0);
        u64::try_from(parts.div_ceil(u128::from(MILLION))).unwrap_or(u64::MAX)
    }

    #[inline]
    pub(crate) fn as_f64(self) -> f64 {
        f64::from(self.0) / f64::from(MILLION)
    }
}

/// The parts of a whole, and the parts of a token of a budget.
pub(crate) const MILLION: u32 = 1_000_000;
