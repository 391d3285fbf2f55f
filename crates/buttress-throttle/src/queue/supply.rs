use std::{fmt, sync::Arc, time::Duration};

use buttress_control::Nanos;
use buttress_core::Quota;

use super::{CallQueue, priority_list::WaiterEntry};
use crate::limit::{Refusal, RefusalReason, Settings};

/// The supply that the calls of a [`CallQueue`](super::CallQueue) wait for: permits, or the cells
/// of a rate.
///
/// All methods except [`is_waiting_set`](Self::is_waiting_set), [`refusal`](Self::refusal) and
/// [`quotas`](Self::quotas) run under the lock of the queue, and none calls foreign code. While the
/// waiting flag is set, only the queue takes from the supply. The exception is a layer in observe
/// mode that shares a rate with layers that enforce it, because its calls never wait.
pub trait Supply: Send + Sync + Sized + 'static {
    /// The permit or cells taken for a call that has not been told yet.
    type Grant: fmt::Debug + Send + 'static;

    /// Whether time alone brings more, so that a timer must wake the queue.
    const TIMED: bool;

    /// Whether later calls must take the lock of the queue.
    fn is_waiting_set(&self) -> bool;

    /// Takes `cells` if they are there, or sets the waiting flag.
    fn take_or_set_waiting(&self, now: Nanos, cells: u32) -> Option<Self::Grant>;

    /// Takes for the first waiter, whether or not the waiting flag is set.
    fn take_for_waiter(&self, now: Nanos, entry: WaiterEntry) -> Result<Self::Grant, Unavailable>;

    /// Clears the waiting flag, and returns whether it was set.
    fn clear_waiting(&self) -> bool;

    /// Returns an unused grant to the supply. Returns whether the queue must grant it to a waiter.
    fn give_back(&self, now: Nanos, grant: Self::Grant) -> bool;

    /// The wait of a call behind others that take `ahead` cells, if known. `mean` is the mean time
    /// between two grants.
    fn expected_wait(
        &self,
        now: Nanos,
        ahead: u64,
        cells: u32,
        mean: Option<Duration>,
    ) -> Option<Duration>;

    /// The refusal of a call behind `ahead` cells.
    fn refusal(&self, now: Nanos, why: RefusalReason, ahead: u64, cells: u32) -> Refusal;

    /// The number of calls that may wait, for a call that finds `waiting` calls with `cells` cells.
    /// `max`: the length of the queue.
    #[inline]
    fn places(&self, now: Nanos, waiting: usize, cells: u64, max: usize) -> usize {
        let _ = (now, waiting, cells);
        max
    }

    /// Asks for more if the waiters need more. Runs without the lock of the queue, and in a runtime
    /// in which calls wait.
    #[inline]
    fn restock(queue: &Arc<CallQueue<Self, Self::Grant>>) {
        let _ = queue;
    }

    /// The quotas to advertise, if the layer advertises any.
    fn quotas(&self, settings: &Settings, now: Nanos) -> Option<Box<[Quota]>> {
        let _ = (settings, now);
        None
    }
}

/// When the first waiter's cells or permit will be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// At this time, if nothing changes.
    Until(Nanos),
    /// When something is returned or changed.
    Unknown,
    /// Never: the limit was lowered below the need of the waiter.
    Never,
    /// Not for this waiter, for another reason.
    Refused(RefusalReason),
}
