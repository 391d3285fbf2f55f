//! Locks and atomics: from std, or from loom when its model checker runs
//! (`--cfg buttress_loom`).

#[cfg(not(buttress_loom))]
pub use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(buttress_loom)]
pub use loom::sync::{Mutex, MutexGuard, atomic};

use std::sync::{Arc, PoisonError};

/// Locks a mutex and ignores poisoning.
///
/// Code that may panic under a lock, such as a law or the comparison of keys, must run while nothing
/// is half changed.
#[inline]
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether only the caller holds `arc`. If so, all that former holders did is visible.
///
/// `Weak` references do not count.
#[inline]
pub fn is_only<T>(arc: &Arc<T>) -> bool {
    let only = Arc::strong_count(arc) == 1;
    // `strong_count` is a relaxed load. The fence pairs with the release decrement of a drop.
    atomic::fence(atomic::Ordering::Acquire);
    only
}
