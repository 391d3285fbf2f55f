//! A mutex lock without poisoning.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`. Ignores poisoning, because no code panics while it holds one of these locks.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
