use std::{mem, task::Waker};

use buttress_core::wake_all;

/// Wakers collected under a lock, to be woken after it: when this is dropped.
///
/// In `Drop`, so that a panic on the way costs no call its wake. Drop it after the lock.
#[derive(Debug, Default)]
pub(crate) struct WakeList {
    // Nearly always one, which then costs no allocation.
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl WakeList {
    pub(crate) fn push(&mut self, waker: Waker) {
        match &self.first {
            None => self.first = Some(waker),
            Some(_) => self.others.push(waker),
        }
    }
}

impl Drop for WakeList {
    fn drop(&mut self) {
        wake_all(self.first.take().into_iter().chain(mem::take(&mut self.others)));
    }
}
