//! The shared words, from std, or from loom when its model checker runs.

#[cfg(not(buttress_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(buttress_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};

use std::sync::{Arc, PoisonError};

/// Locks for pointer moves that cannot panic, so that a poisoned lock means nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether nobody else holds `arc`. If so, all that others did while they held it is seen.
pub(crate) fn is_only<T>(arc: &Arc<T>) -> bool {
    let only = Arc::strong_count(arc) == 1;
    // The count is read in no order with what it stands for.
    atomic::fence(atomic::Ordering::Acquire);
    only
}
