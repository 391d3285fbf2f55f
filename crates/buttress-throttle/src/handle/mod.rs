mod fleet;
mod keyed;
mod metrics;

use std::{fmt, sync::Arc, time::Duration};

use buttress_control::{Nanos, Rate};
use buttress_core::Criticality;

use crate::{
    AcceptRatioLimit, ConcurrencyLimit, RateLimit,
    concurrency::{Fixed, Regulate},
    limit::{ConcurrencyBased, LimitTemplate, Queued, Settings},
    rate::{CellSupply, Cells},
};

/// Live numbers of a [`ThrottleLayer`](crate::ThrottleLayer), over all its services, and setters
/// that change its limit while they run.
///
/// If the layer is [`per_service`](crate::ThrottleLayer::per_service), the handle of a
/// [`Throttle`](crate::Throttle) belongs to that service and its clones alone.
///
/// ```
/// use buttress_throttle::{ConcurrencyLimit, ThrottleHandle, ThrottleLayer};
///
/// struct Admin {
///     database: ThrottleHandle<ConcurrencyLimit>,
/// }
///
/// let layer = ThrottleLayer::concurrency(32).queue(64);
/// let admin = Admin { database: layer.handle() };
/// admin.database.set_limit(16);
/// let snapshot = admin.database.snapshot();
/// assert_eq!(snapshot.limit, Some(16));
/// assert_eq!(snapshot.in_flight, Some(0));
/// ```
#[derive(Clone)]
pub struct ThrottleHandle<L> {
    pub(crate) limit: L,
    pub(crate) settings: Arc<Settings>,
}

/// The numbers of a [`ThrottleHandle`] at one time.
///
/// The numbers are read one after the other while calls go on, so they need not fit together
/// exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThrottleSnapshot {
    /// Admitted calls, by [`Criticality::index`].
    pub admitted: [u64; 4],
    /// Rejected calls, or those that would have been under
    /// [`observe`](crate::ThrottleLayer::observe), by [`Criticality::index`]. Without spare calls.
    pub rejected: [u64; 4],
    /// [`ThrottleHandle::spare_refused`].
    pub spare_refused: u64,
    /// [`ThrottleHandle::abandoned`].
    pub abandoned: u64,
    /// Waiting calls, of all keys together.
    pub queued: usize,
    /// Permits in use, of all keys together. `None` if the limit has no permits.
    pub in_flight: Option<u32>,
    /// The number of permits there may be. `None` if the limit has no permits, or some for each
    /// key.
    pub limit: Option<u32>,
}

impl<L> ThrottleHandle<L> {
    pub(crate) fn new(limit: L, settings: &Arc<Settings>) -> Self {
        Self { limit, settings: Arc::clone(settings) }
    }

    /// Returns the number of calls that the layer rejected, or would have rejected under
    /// [`observe`](crate::ThrottleLayer::observe).
    pub fn rejected(&self) -> u64 {
        self.settings.rejections.rejected().into_iter().sum()
    }

    /// Returns the number of rejected calls of one criticality.
    pub fn rejected_at(&self, criticality: Criticality) -> u64 {
        self.settings.rejections.rejected().get(criticality.index()).copied().unwrap_or_default()
    }

    /// Returns the number of [spare](buttress_core::Attempt::spare) calls that the layer refused, or
    /// would have refused under [`observe`](crate::ThrottleLayer::observe). None of them is among the
    /// [`rejected`](Self::rejected) calls.
    pub fn spare_refused(&self) -> u64 {
        self.settings.rejections.spare_refused()
    }

    /// Returns the number of calls that their caller dropped while they waited in the queue.
    pub fn abandoned(&self) -> u64 {
        self.settings.rejections.abandoned()
    }
}

impl<L: LimitTemplate> ThrottleHandle<L> {
    /// Returns the number of calls that the limit decided on: [`admitted`](Self::admitted) and
    /// [`rejected`](Self::rejected) together.
    ///
    /// A call that waits is not among them yet. Calls without a key, [abandoned](Self::abandoned)
    /// calls and [refused spare calls](Self::spare_refused) never are.
    pub fn calls(&self) -> u64 {
        self.admitted().saturating_add(self.rejected())
    }

    /// Returns the number of calls that were admitted.
    pub fn admitted(&self) -> u64 {
        self.limit.admitted().into_iter().sum()
    }

    /// Returns the number of admitted calls of one criticality.
    pub fn admitted_at(&self, criticality: Criticality) -> u64 {
        self.limit.admitted().get(criticality.index()).copied().unwrap_or_default()
    }

    /// Returns all numbers at once.
    pub fn snapshot(&self) -> ThrottleSnapshot {
        ThrottleSnapshot {
            admitted: self.limit.admitted(),
            rejected: self.settings.rejections.rejected(),
            spare_refused: self.spare_refused(),
            abandoned: self.abandoned(),
            queued: self.limit.queued(),
            in_flight: self.limit.in_flight(),
            limit: self.limit.limit(),
        }
    }
}

impl<L: Queued> ThrottleHandle<L> {
    /// Returns the number of calls that wait, of all keys together.
    pub fn queued(&self) -> usize {
        self.limit.queued()
    }

    /// Returns the maximum number of calls that wait, of each key if there are keys.
    pub fn max_queued(&self) -> usize {
        self.limit.max_queued()
    }

    /// Sets the maximum number of calls that wait, of each key if there are keys. 0: a call that
    /// finds no room is rejected at once.
    ///
    /// Calls that wait already stay in the queue.
    pub fn set_max_queued(&self, max: usize) {
        self.limit.set_max_queued(max);
    }

    /// Returns the longest time that a call spends in the queue. `None`: as long as its deadline
    /// allows.
    pub fn max_wait(&self) -> Option<Duration> {
        self.limit.max_wait()
    }

    /// Sets the longest time that a call spends in the queue, as [`Queue::max_wait`](crate::Queue)
    /// does. `None`: as long as its deadline allows.
    ///
    /// Calls that wait already keep the end of their wait.
    pub fn set_max_wait(&self, max: impl Into<Option<Duration>>) {
        self.limit.set_max_wait(max.into());
    }
}

impl<L: ConcurrencyBased> ThrottleHandle<L> {
    /// Returns the number of calls that hold a permit, of all keys together.
    pub fn in_flight(&self) -> u32 {
        self.limit.in_flight().unwrap_or_default()
    }
}

impl<A: Regulate> ThrottleHandle<ConcurrencyLimit<A>> {
    /// Returns the number of permits there may be.
    pub fn limit(&self) -> u32 {
        self.limit.queue().supply.limit()
    }
}

impl ThrottleHandle<ConcurrencyLimit<Fixed>> {
    /// Sets the number of permits. 0: no further call is admitted.
    ///
    /// A raised limit admits waiting calls at once. A lowered limit takes no permit from a running
    /// call.
    pub fn set_limit(&self, limit: u32) {
        self.limit.queue().set_limit(limit);
    }
}

impl<W, Cl: Cells> ThrottleHandle<RateLimit<W, Cl>> {
    /// Returns the number of cells that could be taken now. With several rates, that of the rate
    /// with the fewest.
    pub fn tokens(&self) -> u32 {
        self.limit.queue.supply.tokens(self.now())
    }

    /// Returns the rates, in the order in which the layer got them.
    pub fn rates(&self) -> Vec<Rate> {
        self.limit.queue.supply.rates()
    }

    /// Sets the rate, or the first of several.
    ///
    /// The cells that were taken stay taken, at most the new burst. The new rate applies at once to
    /// waiting calls: a raised rate admits those it has cells for, and a call that costs more than
    /// a lowered burst is rejected. At a rate of 0, calls wait until the rate is raised.
    pub fn set_rate(&self, rate: Rate) {
        self.set_rate_at(0, rate);
    }

    /// Sets the rate at this index, from 0, as [`set_rate`](Self::set_rate) does. An index out of
    /// range changes nothing.
    pub fn set_rate_at(&self, index: usize, rate: Rate) {
        self.limit.queue.supply.set_rate(self.now(), index, rate);
        self.limit.queue.grant_waiters();
    }

    fn now(&self) -> Nanos {
        self.limit.queue.now()
    }
}

impl ThrottleHandle<AcceptRatioLimit> {
    /// Returns the probability, from 0 to 1, that the next call of this criticality is rejected.
    pub fn rejection_probability(&self, criticality: Criticality) -> f64 {
        self.limit.state.rejection(criticality)
    }
}

/// Prints the [`ThrottleSnapshot`].
impl<L: LimitTemplate> fmt::Debug for ThrottleHandle<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ThrottleHandle").field(&self.snapshot()).finish()
    }
}
