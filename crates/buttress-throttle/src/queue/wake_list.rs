use std::{mem, task::Waker};

use buttress_core::wake_all;

/// Wakers that are collected under a lock and woken on drop.
///
/// Must be declared before the lock is taken, so that it is dropped after the lock is released: a
/// waker is foreign code. Waking on drop makes sure that a panic on the way costs no call its wake.
#[derive(Debug, Default)]
pub(crate) struct WakeList {
    // Nearly always a single waker, which needs no allocation.
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
