use std::{
    fmt,
    sync::{Arc, OnceLock, atomic::AtomicUsize},
    task::Waker,
};

use buttress_control::Nanos;
use buttress_core::{Criticality, Deadline, Timers};
use buttress_state::{
    LimitClock,
    sync::{Mutex, lock},
};
use tokio::time::Instant;

use self::{priority_list::WaiterId, wait_limit::WaitLimit, wait_queue::WaitQueue};
use crate::limit::{Queue, Refusal, RefusalReason};

mod alarms;
mod grant_waiters;
mod limits;
mod priority_list;
mod queued;
mod supply;
mod wait_estimate;
mod wait_limit;
mod wait_queue;
mod wake_list;

pub(crate) use self::{
    priority_list::WaiterEntry,
    queued::{FromGrant, HeldQueue, QueuedCall},
    supply::{Supply, Unavailable},
    wake_list::WakeList,
};

/// A supply of permits or cells, and the calls that wait for it.
///
/// While no call waits, a call takes from the supply without the lock of `waiters`. The first call
/// that has to wait sets the supply's waiting flag. From then on the queue takes for its first
/// waiter, under the lock, so no later call takes a permit or cells due to an earlier call. Nothing
/// is taken ahead of time, so a waiter that leaves costs the others nothing.
pub struct CallQueue<S, G> {
    pub(crate) supply: S,
    pub(crate) clock: LimitClock,
    /// The maximum length, a copy of `waiters.options.max` that is read without the lock.
    /// An atomic of std also under loom: the lock decides, and this value only spares the lock.
    max: AtomicUsize,
    /// No foreign code runs under this lock: wakers are collected in a [`WakeList`], and timers are
    /// set and dropped outside. The supply takes its own locks, if any, under this lock, and the
    /// lock of a shard of keys is taken before it.
    pub(crate) waiters: Mutex<WaitQueue<G>>,
    pub(crate) timers: Arc<QueueTimers>,
    /// The waker that a timer calls to wake the queue.
    pub(crate) alarm: OnceLock<Waker>,
}

/// The timers of all queues of a layer.
#[derive(Debug, Default)]
pub(crate) struct QueueTimers {
    /// Timers of calls whose wait has an end.
    pub(crate) waits: Timers,
    /// Timers of queues. Kept apart, because they fire soon and would be far out of order among the
    /// others.
    pub(crate) alarms: Timers,
}

impl<S: Supply> CallQueue<S, S::Grant> {
    pub(crate) fn new(supply: S, options: &Queue) -> Self {
        Self::over(supply, options, Arc::default())
    }

    /// An empty queue with the same options.
    pub(crate) fn fresh(&self, supply: S) -> Self {
        let options = lock(&self.waiters).options.fresh();
        self.with_options(supply, &options)
    }

    /// An empty queue with other options.
    pub(crate) fn with_options(&self, supply: S, options: &Queue) -> Self {
        Self::over(supply, options, Arc::clone(&self.timers))
    }

    fn over(supply: S, options: &Queue, timers: Arc<QueueTimers>) -> Self {
        Self {
            supply,
            clock: LimitClock::new(),
            max: AtomicUsize::new(options.max),
            waiters: Mutex::new(WaitQueue::new(options.fresh())),
            timers,
            alarm: OnceLock::new(),
        }
    }

    /// Takes for a call that found nothing to take at first, enqueues it, or refuses it.
    pub(crate) fn enqueue(
        &self,
        cells: u32,
        criticality: Criticality,
        wake_list: &mut WakeList,
    ) -> Result<Enqueued<S::Grant>, Refusal> {
        // One reading of the clock for the law and for the deadline, so that both agree on `now`.
        let instant = Instant::now();
        let now = self.clock.at(instant);
        let mut waiters = lock(&self.waiters);
        // The waiters first: something may have come since the queue was last settled.
        self.settle(&mut waiters, now, wake_list);
        let entry = WaiterEntry { since: now, cells };
        let ahead = waiters.ahead(now, criticality);
        let taken = match ahead {
            // May set the waiting flag before the call is in a list. The lock is held until the
            // end, so no call under the lock finds the flag set and the queue empty.
            _ if waiters.is_empty() => self.supply.take_or_set_waiting(now, cells),
            // The call goes before all waiters. If it need not wait, it must not displace a waiter.
            0 => self.supply.take_for_waiter(now, entry).ok(),
            _ => None,
        };
        if let Some(grant) = taken {
            self.clear_waiting_if_empty(&mut waiters, now);
            return Ok(Enqueued::Admitted(grant));
        }
        let wait_limit =
            WaitLimit::earliest(instant, waiters.options.max_wait, Deadline::current());
        let wait = self.supply.expected_wait(now, ahead, cells, waiters.mean());
        let enqueued = match (&wait_limit, wait) {
            (Some(wait_limit), _) if wait_limit.has_passed(instant) => {
                Err(self.refusal_at(wait_limit, now, ahead, cells))
            }
            (Some(wait_limit), Some(wait)) if wait_limit.is_before(instant, wait) => {
                Err(self.supply.refusal(now, RefusalReason::ExpectedWait, ahead, cells))
            }
            _ => {
                let (len, max) = (waiters.len(), waiters.options.max);
                let max = self.supply.places(now, len, waiters.cells(), max);
                match waiters.push(entry, criticality, max, wake_list) {
                    Ok(id) => Ok(Enqueued::Waiting(id, wait_limit)),
                    Err(why) => Err(self.supply.refusal(now, why, ahead, cells)),
                }
            }
        };
        // A refused call may have set the flag above, and leaves no waiter. Otherwise later calls
        // would take the lock without need.
        self.clear_waiting_if_empty(&mut waiters, now);
        enqueued
    }

    /// Grants the waiters the available permits or cells. Returns when there will be more for the
    /// next waiter.
    pub(crate) fn settle(
        &self,
        waiters: &mut WaitQueue<S::Grant>,
        now: Nanos,
        wake_list: &mut WakeList,
    ) -> Option<Nanos> {
        // A grant whose waiter was then shed, and its cells. The next waiter of as many cells gets
        // it.
        let mut left: Option<(u32, S::Grant)> = None;
        loop {
            let Some((id, entry)) = waiters.next(now) else {
                // `grant` never sheds the last waiter, so no grant should be left. If one is, no
                // call can have enqueued for it, because the caller holds the lock.
                left.map(|(_, grant)| self.supply.give_back(now, grant));
                return None;
            };
            let taken = match left.take() {
                Some((cells, grant)) if cells == entry.cells => Ok(grant),
                other => {
                    // A grant of another number of cells goes back first, so that `take_for_waiter`
                    // can take from it.
                    other.map(|(_, grant)| self.supply.give_back(now, grant));
                    self.supply.take_for_waiter(now, entry)
                }
            };
            match taken {
                Ok(grant) => {
                    let shed = waiters.grant((id, entry), grant, now, wake_list);
                    left = shed.map(|grant| (entry.cells, grant));
                }
                Err(Unavailable::Until(due)) => {
                    // An adaptive LIFO queue may turn to a cheaper waiter before `due`.
                    return Some(waiters.turns(now, entry).map_or(due, |turns| turns.min(due)));
                }
                Err(Unavailable::Unknown) => return None,
                Err(Unavailable::Never) => waiters.refuse(id, RefusalReason::Cost, wake_list),
                Err(Unavailable::Refused(why)) => waiters.refuse(id, why, wake_list),
            }
        }
    }

    /// The refusal of a call whose wait limit has passed.
    pub(crate) fn refusal_at(
        &self,
        wait_limit: &WaitLimit,
        now: Nanos,
        ahead: u64,
        cells: u32,
    ) -> Refusal {
        match wait_limit.why {
            RefusalReason::Deadline => Refusal::at(wait_limit.deadline),
            why => self.supply.refusal(now, why, ahead, cells),
        }
    }

    /// The cells that go to other calls before a call that comes now.
    pub(crate) fn ahead(&self, now: Nanos, criticality: Criticality) -> u64 {
        lock(&self.waiters).ahead(now, criticality)
    }

    /// Clears the waiting flag once no call waits, so that calls take without the lock again.
    ///
    /// The caller holds the lock, so no call can enqueue between the check and the clearing.
    pub(crate) fn clear_waiting_if_empty(&self, waiters: &mut WaitQueue<S::Grant>, now: Nanos) {
        if waiters.is_empty() && self.supply.clear_waiting() {
            waiters.forget(now);
        }
    }

    /// The timers for the ends of waits.
    pub(crate) fn waits(&self) -> &Timers {
        &self.timers.waits
    }

    /// The number of waiting calls.
    pub(crate) fn len(&self) -> usize {
        lock(&self.waiters).len()
    }

    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        self.clock.now()
    }
}

impl<S, G> fmt::Debug for CallQueue<S, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallQueue").finish_non_exhaustive()
    }
}

/// The result of [`CallQueue::enqueue`], unless the call was refused.
pub(crate) enum Enqueued<G> {
    Admitted(G),
    Waiting(WaiterId, Option<WaitLimit>),
}
