/// A fact about a request that a mode passes from one of its seeds to the next.
///
/// A layer that needs several seeds of one mode passes the hint of the first seed on, so that the
/// mode searches the request once. Only the mode that made a hint knows the meaning of its number.
///
/// ```
/// # use buttress_core::SeedHint;
/// assert_eq!(SeedHint::NONE.get(), None);
/// assert_eq!(SeedHint::new(1).get(), Some(1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeedHint(Option<u8>);

impl SeedHint {
    /// No hint: the mode searches the request.
    pub const NONE: Self = Self(None);

    /// Creates a hint from a number of the mode.
    pub const fn new(fact: u8) -> Self {
        Self(Some(fact))
    }

    /// Returns the number of the mode, or `None` without a hint.
    pub const fn get(self) -> Option<u8> {
        self.0
    }
}
