//! What panics as often as it is told.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

/// Panics the first `n` times it is asked, without a word on the console.
#[derive(Clone, Default)]
pub(crate) struct Fuse(Arc<AtomicUsize>);

impl Fuse {
    pub(crate) fn of(n: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(n)))
    }

    pub(crate) fn burn(&self) {
        let left = self.0.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            resume_unwind(Box::new("as told"));
        }
    }

    pub(crate) fn light(&self) {
        self.0.store(1, SeqCst);
    }
}
