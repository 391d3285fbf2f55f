/// A value that a table holds for each key.
///
/// A table of keys makes the value of a new key from a template, and drops a value that is idle.
pub(crate) trait Fresh {
    /// Returns a value with the same options in its first state.
    fn fresh(&self) -> Self;

    /// Returns whether the value equals a fresh value. Then the table may drop its key.
    fn is_idle(&self) -> bool;
}

/// A sum over all values of a table, those included that the table has dropped.
pub(crate) trait Tally<T>: Default {
    /// Adds the numbers of `value`.
    fn add(&mut self, value: &T);

    /// Adds the numbers of another sum.
    fn merge(&mut self, other: &Self);
}

/// No sum.
impl<T> Tally<T> for () {
    #[inline]
    fn add(&mut self, _: &T) {}

    #[inline]
    fn merge(&mut self, (): &Self) {}
}
