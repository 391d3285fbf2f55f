//! The lock, from std, or from loom when its model checker runs.

#[cfg(not(buttress_loom))]
pub(super) use std::sync::{Mutex, MutexGuard};

#[cfg(buttress_loom)]
pub(super) use loom::sync::{Mutex, MutexGuard};
