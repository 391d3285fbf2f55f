//! Locks and atomics from std, or from loom when its model checker runs.

#[cfg(not(buttress_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(buttress_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};

use std::sync::{Arc, PoisonError};

/// Locks a mutex and ignores poisoning. User code that may panic under a lock, a law or the
/// comparison of keys, runs when nothing is half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether only the caller holds `arc`. If so, everything that former holders did is visible.
pub(crate) fn is_only<T>(arc: &Arc<T>) -> bool {
    let only = Arc::strong_count(arc) == 1;
    // `strong_count` is a relaxed load. The fence pairs with the release decrement of a drop.
    atomic::fence(atomic::Ordering::Acquire);
    only
}
