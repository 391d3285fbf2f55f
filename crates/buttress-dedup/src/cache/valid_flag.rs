use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether what a flight brings may be kept: not any more once its key is forgotten.
pub(crate) type ValidFlag = Arc<AtomicBool>;

pub(crate) fn forbid_caching(valid: &ValidFlag) {
    valid.store(false, Ordering::Release);
}
