use std::sync::Arc;

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

    /// Returns the value of a key beyond the maximum: a value with the state of `shared`, which all
    /// such keys share. `None`: such keys get `shared` itself. Default: `None`.
    ///
    /// With `Some`, the table remembers the key while a call holds the value. So all calls of a key
    /// that meet have the same state, also if there is room for the key meanwhile. The returned value
    /// is idle whenever no call holds it. Called under a lock of the table, as
    /// [`is_idle`](Self::is_idle) is.
    fn share(shared: &Arc<Self>) -> Option<Self>
    where
        Self: Sized,
    {
        let _ = shared;
        None
    }
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
