use std::{fmt, time::Duration};

use buttress_control::Nanos;
use buttress_core::Quota;

use super::priority_list::Entry;
use crate::limit::{Refusal, RefusalReason, Settings};

/// What the calls of a [`CallQueue`] wait for: permits, or the cells of a rate.
///
/// All methods but [`is_waiting_set`](Self::is_waiting_set) run under the lock of the line, and call no foreign
/// code. While the mark is set, nothing is taken but for the line.
pub trait Supply: Send + Sync + Sized + 'static {
    /// What has been taken for a call that has not heard of it yet.
    type Grant: fmt::Debug + Send + 'static;

    /// Whether time alone brings more, so that a timer must wake the line.
    const TIMED: bool;

    /// Whether newcomers must look at the line.
    fn is_waiting_set(&self) -> bool;

    /// Takes `cells` if they are there, or sets the mark.
    fn take_or_set_waiting(&self, now: Nanos, cells: u32) -> Option<Self::Grant>;

    /// Takes what the first in line waits for, whatever the mark.
    fn take_for_waiter(&self, now: Nanos, entry: Entry) -> Result<Self::Grant, Unavailable>;

    /// Lets calls take without a look at the line again, and says whether they could not.
    fn clear_waiting(&self) -> bool;

    /// Takes back what a call did not use, and says whether the line must be looked at.
    fn give_back(&self, now: Nanos, grant: Self::Grant) -> bool;

    /// How long a call waits behind others that take `ahead` cells, if that is known. `mean` is the mean
    /// time between two grants.
    fn expected_wait(
        &self,
        now: Nanos,
        ahead: u64,
        cells: u32,
        mean: Option<Duration>,
    ) -> Option<Duration>;

    /// The refusal of a call behind `ahead` cells.
    fn refusal(&self, now: Nanos, why: RefusalReason, ahead: u64, cells: u32) -> Refusal;

    /// What a caller may be told of how much is left.
    fn quotas(&self, settings: &Settings, now: Nanos) -> Option<Box<[Quota]>> {
        let _ = (settings, now);
        None
    }
}

/// When there will be what the first in line waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// At this time, if nothing changes.
    Until(Nanos),
    /// When something is given back or changed.
    Unknown,
    /// Never: the limit was lowered under it.
    Never,
}
