//! The lock, and what tells threads apart: from std, or from loom when its model checker runs.

#[cfg(not(buttress_loom))]
pub(super) use std::sync::{Mutex, MutexGuard};

#[cfg(buttress_loom)]
pub(super) use loom::sync::{Mutex, MutexGuard};

/// What tells this thread from all others that live.
#[inline]
pub(super) fn this_thread() -> usize {
    #[cfg(not(buttress_loom))]
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    #[cfg(buttress_loom)]
    loom::thread_local! {
        static HERE: u8 = 0;
    }
    HERE.with(|here| std::ptr::from_ref(here).addr())
}
