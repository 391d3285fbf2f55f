//! A fuse that panics on command.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

/// Panics in the first `n` calls of `burn`, without a message on the console.
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

    pub(crate) fn put_out(&self) {
        self.0.store(0, SeqCst);
    }
}
