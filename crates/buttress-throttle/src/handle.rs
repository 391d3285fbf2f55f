use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use buttress_control::{Nanos, Rate};
use buttress_core::Criticality;

use crate::{
    AcceptRatioLimit, ConcurrencyLimit, Keyed, RateLimit,
    concurrency::{Fixed, Regulate},
    limit::{ConcurrencyBased, LimitTemplate, Queued, Settings},
};

/// Live numbers of a [`ThrottleLayer`](crate::ThrottleLayer), over all its services, and the means to
/// change its limit while they run.
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
/// assert_eq!((admin.database.limit(), admin.database.in_flight()), (16, 0));
/// ```
#[derive(Clone, Debug)]
pub struct ThrottleHandle<L> {
    limit: L,
    rejected: Arc<[AtomicU64; 4]>,
}

impl<L> ThrottleHandle<L> {
    pub(crate) fn new(limit: L, settings: &Settings) -> Self {
        Self { limit, rejected: Arc::clone(&settings.rejected) }
    }

    /// Calls that were rejected, or would have been if the layer did not only observe.
    pub fn rejected(&self) -> u64 {
        Criticality::ALL.into_iter().map(|criticality| self.rejected_at(criticality)).sum()
    }

    /// The same of one criticality.
    pub fn rejected_at(&self, criticality: Criticality) -> u64 {
        self.rejected.get(criticality.index()).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

impl<L: LimitTemplate> ThrottleHandle<L> {
    /// Calls that were let through.
    pub fn admitted(&self) -> u64 {
        self.limit.admitted().into_iter().sum()
    }

    /// The same of one criticality.
    pub fn admitted_at(&self, criticality: Criticality) -> u64 {
        self.limit.admitted().get(criticality.index()).copied().unwrap_or_default()
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
    /// How many permits there may be.
    pub fn limit(&self) -> u32 {
        self.limit.queue.supply.limit()
    }
}

impl ThrottleHandle<ConcurrencyLimit<Fixed>> {
    /// Sets how many permits there may be. Raising it lets those in who wait; lowering it evicts
    /// nobody.
    pub fn set_limit(&self, limit: u32) {
        self.limit.queue.set_limit(limit);
    }
}

impl<W> ThrottleHandle<RateLimit<W>> {
    /// Cells that could be taken now, of the rate that has the fewest.
    pub fn tokens(&self) -> u32 {
        self.limit.queue.supply.rates.tokens(self.now())
    }

    /// The rates, in the order they were given.
    pub fn rates(&self) -> Vec<Rate> {
        self.limit.queue.supply.rates.laws().map(buttress_control::Gcra::rate).collect()
    }

    /// Sets the rate, or the first of several.
    ///
    /// The cells that were taken stay taken, at most the new burst. The new rate holds for the calls that
    /// wait at once: raised, it lets in those it has cells for, and a call that weighs more than a lowered
    /// burst is refused. At a rate of 0 calls wait until it is raised.
    pub fn set_rate(&self, rate: Rate) {
        self.set_rate_at(0, rate);
    }

    /// Sets the rate at this index, from 0, as [`set_rate`](Self::set_rate) does. An index that is not there
    /// changes nothing.
    pub fn set_rate_at(&self, index: usize, rate: Rate) {
        self.limit.queue.supply.rates.set_rate(self.now(), index, rate);
        self.limit.queue.grant_waiters();
    }

    fn now(&self) -> Nanos {
        self.limit.queue.now()
    }
}

impl ThrottleHandle<AcceptRatioLimit> {
    /// How probable it is that the next call of this criticality is not sent, from 0 to 1.
    pub fn rejection_probability(&self, criticality: Criticality) -> f64 {
        self.limit.state.rejection(criticality)
    }
}

impl<L: LimitTemplate + Clone, K: Hash + Eq> ThrottleHandle<Keyed<L, K>> {
    /// How many keys are in use. Forgets the others.
    pub fn keys(&self) -> usize {
        self.limit.table.len()
    }

    /// The handle of one key's limit, if the key is known. It counts the rejections of all keys, and
    /// keeps its key in use. What it sets is forgotten together with the key.
    pub fn for_key(&self, key: &K) -> Option<ThrottleHandle<L>> {
        self.limit.table.known(key).map(|limit| self.one(&limit))
    }

    fn one(&self, limit: &L) -> ThrottleHandle<L> {
        ThrottleHandle { limit: limit.clone(), rejected: Arc::clone(&self.rejected) }
    }
}

impl<K: Hash + Eq> ThrottleHandle<Keyed<ConcurrencyLimit, K>> {
    /// Sets the limit of every key.
    pub fn set_limit(&self, limit: u32) {
        self.limit.table.change(|key| self.one(key).set_limit(limit));
    }
}

impl<W: Clone, K: Hash + Eq> ThrottleHandle<Keyed<RateLimit<W>, K>> {
    /// Changes the rate of every key, or the first of several.
    pub fn set_rate(&self, rate: Rate) {
        self.limit.table.change(|key| self.one(key).set_rate(rate));
    }
}
