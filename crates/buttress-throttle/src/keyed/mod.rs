use std::{fmt, hash::Hash, sync::Arc};

use buttress_core::KeyOf;

use self::table::KeyTable;
use crate::{
    limit::{Admission, CallInfo, Limit, LimitTemplate, QueueOptions, Queued},
    sync::is_only,
};

mod table;

/// A limit of its own for each key.
///
/// What belongs to the limit is set before: `weigh`, `announce`, `retry_after`. A closure needs the
/// type of its argument written out, and returns a key that borrows nothing.
///
/// ```
/// use buttress_throttle::{Rate, ThrottleLayer};
///
/// let tenant = |(tenant, _): &(u32, &'static str)| Some(*tenant);
/// let layer = ThrottleLayer::rate(Rate::per_second(5)).queue(10).keyed(tenant).max_keys(1000);
/// assert_eq!(layer.handle().keys(), 0);
/// ```
///
/// A key is known from its first call on, until its limit is as good as new: nothing in flight,
/// nobody waiting, the rate regained; what an adaptive limit has learned is kept for a minute. Then
/// it is forgotten, when the next calls come or somebody asks how many keys there are.
///
/// While as many keys are in use as there may be, 65,536 unless
/// [`max_keys`](crate::ThrottleLayer::max_keys) says otherwise, all further ones share one limit.
#[doc(alias("per tenant", "per key"))]
pub struct Keyed<L, K, F = ()> {
    pub(crate) table: Arc<KeyTable<K, L>>,
    key: F,
}

impl<L: LimitTemplate + Clone, K, F> Keyed<L, K, F> {
    pub(crate) fn new(limit: L, key: F) -> Self {
        Self { table: Arc::new(KeyTable::new(limit)), key }
    }
}

impl<L, K, F, Req> Limit<Req> for Keyed<L, K, F>
where
    L: Limit<Req>,
    F: KeyOf<Req, Key = K>,
    K: Hash + Eq,
{
    type Permit = L::Permit;
    type Wait = L::Wait;

    #[inline]
    fn admit(&self, request: &Req, call: &CallInfo<'_>) -> Admission<L::Permit, L::Wait> {
        match self.key.key(request) {
            Some(key) => self.table.limit(key).admit(request, call),
            None => Admission::Unlimited,
        }
    }
}

impl<L: LimitTemplate + Clone, K: Hash + Eq, F: Clone> LimitTemplate for Keyed<L, K, F> {
    type View = Keyed<L, K>;

    fn view(&self) -> Keyed<L, K> {
        Keyed { table: Arc::clone(&self.table), key: () }
    }

    fn fresh(&self) -> Self {
        Self { table: Arc::new(self.table.fresh()), key: self.key.clone() }
    }

    fn is_idle(&self) -> bool {
        is_only(&self.table) && self.table.is_idle()
    }

    fn admitted(&self) -> [u64; 4] {
        self.table.admitted()
    }
}

impl<L: LimitTemplate + Clone + Queued, K: Hash + Eq, F> Queued for Keyed<L, K, F> {
    fn change(&self, change: impl Fn(&mut QueueOptions)) {
        self.table.change(|limit| limit.change(&change));
    }

    fn queued(&self) -> usize {
        self.table.sum(Queued::queued)
    }
}

impl<L, K, F: Clone> Clone for Keyed<L, K, F> {
    fn clone(&self) -> Self {
        Self { table: Arc::clone(&self.table), key: self.key.clone() }
    }
}

impl<L, K, F> fmt::Debug for Keyed<L, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}
