use std::time::Duration;

use buttress_control::Codel;

/// What a line is told.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    /// How many calls may wait.
    pub(crate) bound: usize,
    pub(crate) max_wait: Option<Duration>,
    pub(crate) order: QueueOrder,
    pub(crate) codel: Option<Codel>,
}

/// The order within one criticality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueOrder {
    /// The oldest waiter goes first.
    Fifo,
    /// The latest waiter goes first, while the line has not been empty for some time.
    AdaptiveLifo,
}

impl QueueOptions {
    pub(crate) const fn new() -> Self {
        Self { bound: 0, max_wait: None, order: QueueOrder::Fifo, codel: None }
    }

    /// The same, with nothing measured.
    pub(crate) fn fresh(&self) -> Self {
        Self { codel: self.codel.as_ref().map(Codel::fresh), ..*self }
    }
}
