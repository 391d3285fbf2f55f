use std::{hash::Hash, sync::Arc};

use buttress_control::Rate;

use crate::{
    ConcurrencyLimit, Keyed, RateLimit, ThrottleHandle, concurrency::Regulate,
    limit::LimitTemplate, rate::Cells,
};

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

    pub(super) fn one(&self, limit: &L) -> ThrottleHandle<L> {
        ThrottleHandle { limit: limit.clone(), settings: Arc::clone(&self.settings) }
    }
}

impl<A: Regulate, K: Hash + Eq> ThrottleHandle<Keyed<ConcurrencyLimit<A>, K>> {
    /// Returns the number of permits that a new key gets.
    pub fn limit(&self) -> u32 {
        self.one(&self.limit.table.template().0).limit()
    }
}

impl<K: Hash + Eq> ThrottleHandle<Keyed<ConcurrencyLimit, K>> {
    /// Sets the number of permits of every key, of those in use and of later ones.
    pub fn set_limit(&self, limit: u32) {
        self.limit.table.change(|key| self.one(&key.0).set_limit(limit));
    }
}

impl<W: Clone, Cl: Cells, K: Hash + Eq> ThrottleHandle<Keyed<RateLimit<W, Cl>, K>> {
    /// Returns the rates that a new key gets, in the order in which the layer got them.
    pub fn rates(&self) -> Vec<Rate> {
        self.one(&self.limit.table.template().0).rates()
    }

    /// Sets the rate of every key, or the first of several, of the keys in use and of later ones.
    pub fn set_rate(&self, rate: Rate) {
        self.limit.table.change(|key| self.one(&key.0).set_rate(rate));
    }
}
