use std::{fmt, hash::Hash, sync::Arc};

use buttress_control::{Nanos, Rate};
use buttress_core::Criticality;

use crate::{
    AcceptRatioLimit, ConcurrencyLimit, Keyed, RateLimit,
    concurrency::{Fixed, Regulate},
    limit::{ConcurrencyBased, LimitTemplate, Queued, RejectionCounts, Settings},
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
    limit: L,
    rejections: Arc<RejectionCounts>,
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
    /// Waiting calls, of all keys together.
    pub queued: usize,
    /// Permits in use, of all keys together. `None` if the limit has no permits.
    pub in_flight: Option<u32>,
    /// The number of permits there may be. `None` if the limit has no permits, or some for each
    /// key.
    pub limit: Option<u32>,
}

impl<L> ThrottleHandle<L> {
    pub(crate) fn new(limit: L, settings: &Settings) -> Self {
        Self { limit, rejections: Arc::clone(&settings.rejections) }
    }

    /// Returns the number of calls that the layer rejected, or would have rejected under
    /// [`observe`](crate::ThrottleLayer::observe).
    pub fn rejected(&self) -> u64 {
        self.rejections.rejected().into_iter().sum()
    }

    /// Returns the number of rejected calls of one criticality.
    pub fn rejected_at(&self, criticality: Criticality) -> u64 {
        self.rejections.rejected().get(criticality.index()).copied().unwrap_or_default()
    }

    /// Returns the number of [spare](buttress_core::Attempt::spare) calls that the layer refused, or
    /// would have refused under [`observe`](crate::ThrottleLayer::observe). None of them is among the
    /// [`rejected`](Self::rejected) calls.
    pub fn spare_refused(&self) -> u64 {
        self.rejections.spare_refused()
    }
}

impl<L: LimitTemplate> ThrottleHandle<L> {
    /// Returns the number of calls that the limit decided on: [`admitted`](Self::admitted) and
    /// [`rejected`](Self::rejected) together.
    ///
    /// A call that waits is not among them yet. Calls without a key, calls that leave the queue
    /// because their caller drops them, and [refused spare calls](Self::spare_refused) never are.
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
            rejected: self.rejections.rejected(),
            spare_refused: self.spare_refused(),
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

impl<W> ThrottleHandle<RateLimit<W>> {
    /// Returns the number of cells that could be taken now. With several rates, that of the rate
    /// with the fewest.
    pub fn tokens(&self) -> u32 {
        self.limit.queue.supply.rates.tokens(self.now())
    }

    /// Returns the rates, in the order in which the layer got them.
    pub fn rates(&self) -> Vec<Rate> {
        self.limit.queue.supply.rates.laws().map(buttress_control::Gcra::rate).collect()
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
        self.limit.queue.supply.rates.set_rate(self.now(), index, rate);
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

impl<L: LimitTemplate + Clone, K: Hash + Eq> ThrottleHandle<Keyed<L, K>> {
    /// Returns the number of keys in use, and drops all others.
    pub fn keys(&self) -> usize {
        self.limit.table.len()
    }

    /// Returns the handle of one key's limit. `None` if no call has used the key, or the key was
    /// dropped.
    ///
    /// The handle counts the rejections of all keys, and keeps its key in use. A limit or rate set
    /// through the handle is dropped together with the key.
    pub fn for_key(&self, key: &K) -> Option<ThrottleHandle<L>> {
        self.limit.table.known(key).map(|limit| self.one(&limit.0))
    }

    fn one(&self, limit: &L) -> ThrottleHandle<L> {
        ThrottleHandle { limit: limit.clone(), rejections: Arc::clone(&self.rejections) }
    }
}

impl<K: Hash + Eq> ThrottleHandle<Keyed<ConcurrencyLimit, K>> {
    /// Sets the number of permits of every key, of those in use and of later ones.
    pub fn set_limit(&self, limit: u32) {
        self.limit.table.change(|key| self.one(&key.0).set_limit(limit));
    }
}

impl<W: Clone, K: Hash + Eq> ThrottleHandle<Keyed<RateLimit<W>, K>> {
    /// Sets the rate of every key, or the first of several, of the keys in use and of later ones.
    pub fn set_rate(&self, rate: Rate) {
        self.limit.table.change(|key| self.one(&key.0).set_rate(rate));
    }
}

/// Prints the [`ThrottleSnapshot`].
impl<L: LimitTemplate> fmt::Debug for ThrottleHandle<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ThrottleHandle").field(&self.snapshot()).finish()
    }
}
