use std::time::Duration;

use buttress_core::Verdict;

/// A call of a load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// The start, since the start of the load.
    pub(super) began: Duration,
    pub(super) took: Duration,
    pub(super) end: CallOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum CallOutcome {
    Judged(Verdict),
    /// Dropped, because the caller's patience ended.
    Abandoned,
    /// Dropped, because the time after the load ended.
    Unfinished,
}
