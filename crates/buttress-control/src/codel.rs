use std::time::Duration;

use crate::Nanos;
use crate::numbers::nanos::saturating_nanos;

/// Controlled delay for a queue of requests: tells a standing queue from a queue that works off a
/// burst.
///
/// The law of [folly's `Codel`][folly], described in [Fail at Scale][fail], ACM Queue 2015, after
/// Nichols and Jacobson, [Controlling Queue Delay][codel], 2012. If even the shortest wait of an
/// interval was over the target, the queue is overloaded. In the next interval, requests that
/// waited over twice the target are shed.
///
/// ```
/// use std::time::Duration;
/// use buttress_control::{Codel, Nanos};
///
/// let millis = Duration::from_millis;
/// let mut codel = Codel::new(millis(5), millis(100));
/// assert!(!codel.dequeue(Nanos::from(millis(0)), millis(30)));
/// assert!(!codel.dequeue(Nanos::from(millis(101)), millis(30))); // the first of an interval
/// assert!(codel.is_overloaded());
/// assert!(codel.dequeue(Nanos::from(millis(102)), millis(30)));
/// assert!(!codel.dequeue(Nanos::from(millis(103)), millis(10)));
/// ```
///
/// # Time
///
/// An interval ends with the first event later than its length. The next interval begins with that
/// event, however much time lies between. A time that steps back belongs to the running interval.
///
/// # Bounds
///
/// With an interval of zero no request is ever shed. With a target of zero any wait is too long.
///
/// # Defaults
///
/// `Codel::default()` has a target of 5 ms and an interval of 100 ms, as folly has.
///
/// [folly]: https://github.com/facebook/folly/blob/main/folly/executors/Codel.cpp
/// [fail]: https://queue.acm.org/detail.cfm?id=2839461
/// [codel]: https://queue.acm.org/detail.cfm?id=2209336
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias("controlled delay"))]
pub struct Codel {
    /// In nanoseconds, as are the others.
    target: u64,
    interval: u64,
    /// The last time of the running interval. `None` before the first event.
    ends: Option<u64>,
    shortest: u64,
    overloaded: bool,
}

impl Codel {
    /// Creates the law of a queue whose shortest wait in each interval shall be at most `target`.
    pub const fn new(target: Duration, interval: Duration) -> Self {
        Self {
            target: saturating_nanos(target),
            interval: saturating_nanos(interval),
            ends: None,
            shortest: 0,
            overloaded: false,
        }
    }

    /// Returns the same target and interval, with nothing measured.
    pub const fn fresh(&self) -> Self {
        Self { ends: None, shortest: 0, overloaded: false, ..*self }
    }

    /// Counts a request that leaves the queue now after this wait, and returns whether to shed the
    /// request.
    ///
    /// The first request of an interval is never shed, so that there is always a request to
    /// measure.
    pub fn dequeue(&mut self, now: Nanos, waited: Duration) -> bool {
        let waited = saturating_nanos(waited);
        let first = self.measure(now, waited);
        !first && self.overloaded && waited > self.target.saturating_mul(2)
    }

    /// Counts that the queue ran empty. This is a wait of zero, so the queue does not stand.
    pub fn emptied(&mut self, now: Nanos) {
        self.measure(now, 0);
    }

    /// Returns whether the shortest wait of the last whole interval was over the target.
    ///
    /// While no request leaves the queue, the result does not change.
    pub const fn is_overloaded(&self) -> bool {
        self.overloaded
    }

    /// Notes a wait, and returns whether it is the first of its interval.
    fn measure(&mut self, now: Nanos, waited: u64) -> bool {
        let ended = self.ends.is_none_or(|ends| now.get() > ends);
        if ended || self.interval == 0 {
            let judged = self.ends.is_some() && self.interval > 0;
            self.overloaded = judged && self.shortest > self.target;
            self.ends = Some(now.get().saturating_add(self.interval));
            self.shortest = waited;
            return true;
        }
        self.shortest = self.shortest.min(waited);
        false
    }
}

impl Default for Codel {
    fn default() -> Self {
        Self::new(Duration::from_millis(5), Duration::from_millis(100))
    }
}
