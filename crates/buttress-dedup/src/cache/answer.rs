use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Fetched, Intent,
    entry::{CacheEntry, EntryFreshness},
    pending::CachePlan,
    store::Store,
};

/// What a flight does with the answer of a store. `V` is an entry, and `F` a read.
#[derive(Debug)]
pub enum Answer<V, F> {
    /// The entry is served. If `refresh` is set, a background refresh is due.
    Serve {
        /// The entry.
        entry: V,
        /// A background refresh is due.
        refresh: bool,
    },
    /// Another process renews the entry, for this time at most. Only for a background refresh.
    Busy(Duration),
    /// The store is asked again, for an entry other than the one that it had.
    Again(F),
    /// The call is made.
    Call,
}

impl<V, F> Answer<V, F> {
    pub(super) fn map_fetch<G>(self, map: impl FnOnce(F) -> G) -> Answer<V, G> {
        match self {
            Self::Serve { entry, refresh } => Answer::Serve { entry, refresh },
            Self::Busy(time) => Answer::Busy(time),
            Self::Again(fetch) => Answer::Again(map(fetch)),
            Self::Call => Answer::Call,
        }
    }
}

/// What the flight knows when the store answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<D> {
    /// The call is already being made.
    pub is_calling: bool,
    /// Whether an entry that is fresh is to be renewed early.
    pub is_due: D,
}

impl<K, V, St, X, J> CachePlan<K, V, St, X, J>
where
    K: Clone,
    St: Store<K, V>,
{
    /// Starts a read of the store.
    pub(super) fn fetch(&self) -> Option<St::Fetch> {
        let intent = match &self.fallback {
            Some(entry) if self.info.is_refresh => Intent::Refresh(entry),
            _ => Intent::Miss,
        };
        self.state.store.fetch(&self.key, self.info.resource, intent)
    }

    /// Decides what follows from the answer of the store. `can_restore` tells whether an entry can be served
    /// at all.
    pub(super) fn answer(
        &mut self,
        fetched: Fetched<V, St::Lease>,
        asked: Asked<impl FnOnce(&CacheEntry<V>, Instant) -> bool>,
        can_restore: impl FnOnce(&Arc<CacheEntry<V>>) -> bool,
    ) -> Answer<Arc<CacheEntry<V>>, St::Fetch> {
        match fetched {
            Fetched::Hit(entry) => match self.accept(entry).filter(can_restore) {
                Some(entry) => self.answer_hit(entry, asked),
                None => Answer::Call,
            },
            Fetched::Lead { lease, spare } => {
                self.lease = Some(lease);
                if let Some(spare) = spare.and_then(|spare| self.accept(spare)).filter(can_restore)
                {
                    self.fall_back_on(spare, Instant::now());
                }
                Answer::Call
            }
            Fetched::Busy(time) if self.info.is_refresh && !asked.is_calling => Answer::Busy(time),
            Fetched::Busy(_) | Fetched::Alone => Answer::Call,
        }
    }

    /// Decides about an entry of the store that was not invalidated.
    fn answer_hit(
        &mut self,
        entry: Arc<CacheEntry<V>>,
        asked: Asked<impl FnOnce(&CacheEntry<V>, Instant) -> bool>,
    ) -> Answer<Arc<CacheEntry<V>>, St::Fetch> {
        let now = Instant::now();
        // A refresh has the cached entry as its fallback. Without `is_newer`, the store would return that
        // entry again, and an early refresh would renew nothing.
        let is_newer =
            |fallback: &Arc<CacheEntry<V>>| entry.remaining(now) > fallback.remaining(now);
        if entry.satisfies(self.info.wanted.as_ref(), now) {
            match entry.freshness(now) {
                EntryFreshness::Fresh if self.fallback.as_ref().is_none_or(is_newer) => {
                    let refresh = !self.info.is_refresh && (asked.is_due)(&entry, now);
                    return Answer::Serve { entry, refresh };
                }
                // A call in progress renews the entry sooner than a refresh would.
                EntryFreshness::Stale if !self.info.is_refresh && !asked.is_calling => {
                    return Answer::Serve { entry, refresh: true };
                }
                _ => {}
            }
        }
        let again = self.ask_again(&entry);
        self.fall_back_on(entry, now);
        again.map_or(Answer::Call, Answer::Again)
    }

    /// Asks a coordinated store once more, for a newer entry than this one or for the lease.
    fn ask_again(&mut self, entry: &CacheEntry<V>) -> Option<St::Fetch> {
        if !St::IS_COORDINATED || self.has_asked_again {
            return None;
        }
        self.has_asked_again = true;
        self.state.store.fetch(&self.key, self.info.resource, Intent::Refresh(entry))
    }

    /// Takes an entry of the store, unless the entry may be older than an invalidation.
    fn accept(&self, mut entry: Arc<CacheEntry<V>>) -> Option<Arc<CacheEntry<V>>> {
        if St::IS_COORDINATED
            && let Some(entry) = Arc::get_mut(&mut entry)
        {
            // The store would not return an entry that is older than the plan. So the entry is as good as a
            // result of this flight.
            entry.be_valid_while(self.resource_generation, Arc::clone(&self.valid));
        }
        // An invalidation during the read forbids the entry, because the store may have read the older
        // value.
        (self.is_valid() && self.is_current(&entry)).then_some(entry)
    }

    /// Serves `entry` if the call fails.
    fn fall_back_on(&mut self, entry: Arc<CacheEntry<V>>, now: Instant) {
        let is_longer = |fallback: &Arc<CacheEntry<V>>| entry.outlasts(fallback, now);
        if entry.can_replace_error(now) && self.fallback.as_ref().is_none_or(is_longer) {
            self.fallback = Some(entry);
        }
    }

    /// Gives the store an entry of its own to keep in this process.
    pub(super) fn keep(&self, entry: &Arc<CacheEntry<V>>) {
        let CachePlan { state, key, info, .. } = self;
        state.store.keep(key, entry);
        // Checked after `keep`, for the same reason as in `CacheWriter::write`.
        if !self.is_valid() {
            state.store.remove(key, info.resource);
        }
    }
}
