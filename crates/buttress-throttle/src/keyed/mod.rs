use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use buttress_core::KeyOf;
use buttress_state::sync::is_only;

use self::{
    bound_keys::{BoundKeys, new_table},
    key_limit::LimitTable,
};
use crate::fleet::FleetSnapshot;
use crate::limit::{
    Admission, CallInfo, ConcurrencyBased, KeyLimit, KeyWriter, Limit, LimitPerKey, LimitTemplate,
    LocalLimit, Queue, Queued, RateBased, Seeded, sealed,
};

mod bound_keys;
mod key_limit;

/// A limit of its own for each key.
///
/// The type of a closure's argument must be written out. The closure returns an owned key.
///
/// ```
/// use buttress_throttle::{Rate, ThrottleLayer};
///
/// let tenant = |(tenant, _): &(u32, &'static str)| Some(*tenant);
/// let layer = ThrottleLayer::rate(Rate::per_second(5)).keyed(tenant).queue(10).max_keys(1000);
/// assert_eq!(layer.handle().keys(), 0);
/// ```
///
/// A key is in use from its first call until its limit equals a fresh limit: no call in flight, no
/// call waiting, the rate regained. What an adaptive limit has learned is kept for a minute. Then
/// the key is dropped, when later calls come or [`keys`](crate::ThrottleHandle::keys) is called.
///
/// While the maximum number of keys is in use, 65,536 unless
/// [`max_keys`](crate::ThrottleLayer::max_keys) is set, all further keys share a limit.
#[doc(alias("per tenant", "per key"))]
pub struct Keyed<L, K, F = ()> {
    pub(crate) table: Arc<LimitTable<K, L>>,
    key: F,
    /// `None` if the limits do not need the bytes of their keys.
    write: Option<KeyWriter<K>>,
}

impl<L: LimitPerKey<K> + Clone, K, F> Keyed<L, K, F> {
    pub(crate) fn new(limit: L, key: F) -> Self {
        Self { table: new_table(limit, MAX_KEYS), key, write: L::writer() }
    }
}

impl<L: LimitTemplate + Clone, K, F: Clone> Keyed<L, K, F> {
    /// The same limit with no keys, and room for `max`.
    pub(crate) fn with_max_keys(&self, max: usize) -> Self {
        let table = new_table(self.table.template().0.fresh(), max);
        Self { table, key: self.key.clone(), write: self.write }
    }

    /// No keys. The limit of each key will be made of `make`'s result.
    fn with_template<T: LimitTemplate + Clone>(
        &self,
        make: impl FnOnce(&L) -> T,
    ) -> Keyed<T, K, F> {
        let table = new_table(make(&self.table.template().0), self.table.max_keys());
        Keyed { table, key: self.key.clone(), write: self.write }
    }
}

impl<L, K, F, Req> Limit<Req> for Keyed<L, K, F>
where
    L: Limit<Req>,
    F: KeyOf<Req, Key = K>,
    K: Hash + Eq,
{
    type Permit = L::KeyPermit;
    type Wait = L::KeyWait;
    type KeyPermit = L::KeyPermit;
    type KeyWait = L::KeyWait;

    #[inline]
    fn admit(&self, request: &Req, call: &CallInfo<'_>) -> Admission<L::KeyPermit, L::KeyWait> {
        let limit = match self.write {
            Some(write) if L::NEEDS_KEY => {
                self.key.look_up(request, BoundKeys { table: &self.table, write })
            }
            _ => self.key.look_up(request, &*self.table),
        };
        match limit {
            // The limit leaves the table as an `Arc`, so `admit_key`, which may run a user's cost,
            // holds no lock. Permits and waiting calls keep the `Arc` or one of its queue, and
            // spent cells keep the limit from being idle.
            Some(limit) => L::admit_key(limit, request, call),
            None => Admission::Unlimited,
        }
    }

    fn admit_key(
        limit: Arc<KeyLimit<Self>>,
        request: &Req,
        call: &CallInfo<'_>,
    ) -> Admission<L::KeyPermit, L::KeyWait> {
        limit.0.admit(request, call)
    }
}

impl<L: LocalLimit + Clone, K: Hash + Eq, F: Clone> LocalLimit for Keyed<L, K, F> {}

impl<L, K, F> sealed::Sealed for Keyed<L, K, F> {}

impl<L: LimitTemplate + Clone, K: Hash + Eq, F: Clone> LimitTemplate for Keyed<L, K, F> {
    type View = Keyed<L, K>;

    fn view(&self) -> Keyed<L, K> {
        Keyed { table: Arc::clone(&self.table), key: (), write: self.write }
    }

    fn fresh(&self) -> Self {
        self.with_template(LimitTemplate::fresh)
    }

    fn is_idle(&self) -> bool {
        is_only(&self.table) && self.table.is_idle()
    }

    fn admitted(&self) -> [u64; 4] {
        self.table.total().0
    }

    fn queued(&self) -> usize {
        self.table.fold(0, |sum, limit| sum + limit.0.queued())
    }

    fn in_flight(&self) -> Option<u32> {
        let add =
            |sum: Option<u32>, limit: &KeyLimit<L>| Some(sum?.saturating_add(limit.0.in_flight()?));
        self.table.fold(Some(0), add)
    }

    fn keys(&self) -> Option<usize> {
        Some(self.table.len())
    }

    fn fleet(&self) -> Option<FleetSnapshot> {
        self.table.template().0.fleet()
    }
}

impl<L: Queued + Clone, K: Hash + Eq, F: Clone> Queued for Keyed<L, K, F> {
    fn with_queue(&self, queue: Queue) -> Self {
        self.with_template(|limit| limit.with_queue(queue))
    }

    fn max_queued(&self) -> usize {
        self.table.template().0.max_queued()
    }

    fn set_max_queued(&self, max: usize) {
        self.table.change(|limit| limit.0.set_max_queued(max));
    }

    fn max_wait(&self) -> Option<Duration> {
        self.table.template().0.max_wait()
    }

    fn set_max_wait(&self, max: Option<Duration>) {
        self.table.change(|limit| limit.0.set_max_wait(max));
    }
}

impl<L: RateBased + Clone, K: Hash + Eq, F: Clone> RateBased for Keyed<L, K, F> {
    type WithCost<C: Clone> = Keyed<L::WithCost<C>, K, F>;

    // The table's limits have the type of the former cost.
    const COST_STARTS_FRESH: bool = true;

    fn with_cost<C: Clone>(self, cost: C) -> Keyed<L::WithCost<C>, K, F> {
        self.with_template(|limit| limit.fresh().with_cost(cost))
    }
}

impl<L: ConcurrencyBased + Clone, K: Hash + Eq, F: Clone> ConcurrencyBased for Keyed<L, K, F> {}

impl<L: Seeded + Clone, K: Hash + Eq, F: Clone> Seeded for Keyed<L, K, F> {
    fn with_seed(&self, seed: u64) -> Self {
        self.with_template(|limit| limit.with_seed(seed))
    }
}

impl<L, K, F: Clone> Clone for Keyed<L, K, F> {
    fn clone(&self) -> Self {
        Self { table: Arc::clone(&self.table), key: self.key.clone(), write: self.write }
    }
}

impl<L, K, F> fmt::Debug for Keyed<L, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}

const MAX_KEYS: usize = 65_536;
