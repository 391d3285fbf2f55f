use std::time::Duration;

use buttress_control::Codel;

use super::LimitTemplate;

/// Options of a queue: how many calls wait for a permit or for the cells of a rate, and for how
/// long.
///
/// ```
/// use std::time::Duration;
///
/// use buttress_throttle::{Codel, Queue, ThrottleLayer};
///
/// let queue = Queue::new(64).max_wait(Duration::from_secs(1)).codel(Codel::default());
/// let layer = ThrottleLayer::concurrency(32).queue(queue);
/// ```
#[derive(Clone, Debug)]
#[doc(alias("queue limit", "backlog"))]
pub struct Queue {
    pub(crate) max: usize,
    pub(crate) max_wait: Option<Duration>,
    pub(crate) order: QueueOrder,
    pub(crate) codel: Option<Codel>,
}

impl Queue {
    /// Sets the maximum number of waiting calls. 0: a call that finds no room is rejected at once.
    ///
    /// The oldest waiter goes first, within a [criticality](buttress_core::Criticality). In a full
    /// queue, the latest waiter of a lower criticality makes room for a call of a higher one. With
    /// keys, each key has a queue of this length.
    pub const fn new(max: usize) -> Self {
        Self { max, max_wait: None, order: QueueOrder::Fifo, codel: None }
    }

    /// Limits the time a call spends in the queue. Default: no limit except the caller's deadline.
    ///
    /// A call that would wait for longer is rejected at once, as far as the wait is known. Zero: no
    /// call waits.
    pub const fn max_wait(self, max: Duration) -> Self {
        Self { max_wait: Some(max), ..self }
    }

    /// Sheds calls that waited too long in a queue that does not get shorter: controlled delay, as
    /// [`Codel`] says. `Codel::default()` has a target of 5 ms and an interval of 100 ms. The last
    /// waiter of a queue is never shed. Default: off.
    pub const fn codel(self, codel: Codel) -> Self {
        Self { codel: Some(codel), ..self }
    }

    /// Serves the latest waiter first, while the queue has not been empty for 100 ms. By then the
    /// callers that came first are about to give up. Meanwhile, in a full queue without a
    /// waiter of a lower criticality, the oldest waiter of the call's own criticality makes room.
    /// Default: off (FIFO).
    ///
    /// From [Fail at Scale](https://queue.acm.org/detail.cfm?id=2839461), ACM Queue, 2015.
    pub const fn adaptive_lifo(self) -> Self {
        Self { order: QueueOrder::AdaptiveLifo, ..self }
    }

    /// The same options, without the measurements of the controlled delay.
    pub(crate) fn fresh(&self) -> Self {
        Self { codel: self.codel.as_ref().map(Codel::fresh), ..*self }
    }
}

/// A queue of this length, with all other options at their defaults.
impl From<usize> for Queue {
    fn from(max: usize) -> Self {
        Self::new(max)
    }
}

/// The order within one criticality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueOrder {
    /// The oldest waiter goes first.
    Fifo,
    /// The latest waiter goes first, while the queue has not been empty for some time.
    AdaptiveLifo,
}

/// A limit that calls can wait for: [`ConcurrencyLimit`](crate::ConcurrencyLimit),
/// [`RateLimit`](crate::RateLimit), or [`Keyed`](crate::Keyed) of those.
///
/// This trait is sealed. Use it as a bound.
#[diagnostic::on_unimplemented(
    message = "no call can wait for `{Self}`",
    note = "limits of concurrency and rates have a queue"
)]
pub trait Queued: LimitTemplate {
    /// The same limit in its first state, with such a queue.
    #[doc(hidden)]
    #[must_use]
    fn with_queue(&self, queue: Queue) -> Self;

    /// The maximum number of waiting calls, of each key if there are keys.
    #[doc(hidden)]
    fn max_queued(&self) -> usize;

    #[doc(hidden)]
    fn set_max_queued(&self, max: usize);

    #[doc(hidden)]
    fn max_wait(&self) -> Option<Duration>;

    #[doc(hidden)]
    fn set_max_wait(&self, max: Option<Duration>);
}
