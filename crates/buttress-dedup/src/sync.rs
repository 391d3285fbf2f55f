//! Atomics and locks from std, or from loom when its model checker runs.

#[cfg(not(buttress_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(buttress_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};

use std::sync::PoisonError;

/// Locks `mutex` and ignores poison: every critical section either cannot panic, or runs only `Hash` and
/// `Eq` of a key before it changes anything.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
