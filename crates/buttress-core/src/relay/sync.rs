//! The lock and the thread mark: from std, or from loom under its model checker.

#[cfg(not(buttress_loom))]
pub(super) use std::sync::{Mutex, MutexGuard};

#[cfg(buttress_loom)]
pub(super) use loom::sync::{Mutex, MutexGuard};

/// Returns a mark that no other live thread has.
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
