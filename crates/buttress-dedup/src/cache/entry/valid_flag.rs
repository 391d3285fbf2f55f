use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether the result of a flight may be cached. Cleared when its key is invalidated, and when a newer
/// flight has written its result.
pub(crate) type ValidFlag = Arc<AtomicBool>;

/// Clears the flag. Release pairs with the acquire loads of `CacheEntry::is_valid` and
/// `PendingWrite::is_valid`.
pub(crate) fn forbid_caching(valid: &ValidFlag) {
    valid.store(false, Ordering::Release);
}
