/// A value that a [`KeyTable`](crate::KeyTable) holds for each key.
///
/// The table makes the value of a new key from a template, and drops a value that is idle.
pub trait Fresh {
    /// Returns a value with the same options in its first state. No lock is held meanwhile.
    fn fresh(&self) -> Self;

    /// Returns whether the value equals a fresh value. If so, and if no other reference to the value
    /// exists, the table may drop the key.
    ///
    /// Called under a lock of the table. So this method must not ask the table, and must be quick.
    fn is_idle(&self) -> bool;
}

/// A sum over all values of a [`KeyTable`](crate::KeyTable), those included that the table has
/// dropped.
///
/// Both methods are called under a lock of the table.
pub trait Total<T>: Default {
    /// Adds the numbers of `value`.
    fn add(&mut self, value: &T);

    /// Adds the numbers of another sum.
    fn merge(&mut self, other: &Self);
}

/// No sum.
impl<T> Total<T> for () {
    #[inline]
    fn add(&mut self, _: &T) {}

    #[inline]
    fn merge(&mut self, (): &Self) {}
}
