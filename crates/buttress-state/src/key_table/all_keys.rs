use std::{hash::Hash, sync::Arc};

use super::{
    Fresh, KeyTable, Total,
    shard::{KeyEntry, KeyShard, SweepScope, is_unused},
};
use crate::sync::{Mutex, atomic::Ordering, lock};

/// Questions to all keys of a table, and changes of all.
impl<K: Hash + Eq, T: Fresh, S: Total<T>> KeyTable<K, T, S> {
    /// Changes the values of all keys: of those in use, and of later ones through the template.
    ///
    /// No lock is held while `change` runs.
    pub fn change(&self, change: impl Fn(&T)) {
        change(&self.template);
        // Release, paired with the acquire loads in `fresh_for`: a call that made a value of the
        // former template sees the new count and starts over, or `for_each` finds its value below.
        self.changes.fetch_add(1, Ordering::Release);
        change(&self.overflow);
        self.for_each(change);
    }

    /// Folds over the values of all keys in use, and over the value that further keys share.
    ///
    /// Holds the lock of each shard in turn, so `f` must not ask the table. Without the lock, an
    /// `Arc` of the value would keep its key in use.
    pub fn fold<R>(&self, init: R, mut f: impl FnMut(R, &T) -> R) -> R {
        let sum = f(init, &self.overflow);
        self.shards
            .iter()
            .fold(sum, |sum, shard| lock(shard).own().fold(sum, |sum, entry| f(sum, &entry.value)))
    }

    /// Calls `f` for each value in use, without holding a lock, because `f` may run user code.
    fn for_each(&self, f: impl Fn(&T)) {
        for shard in &self.shards {
            let known = |entry: &KeyEntry<K, T>| Arc::clone(&entry.value);
            // The clones keep these keys from being swept until `f` has run.
            let known: Vec<_> = lock(shard).own().map(known).collect();
            for value in &known {
                f(value);
            }
        }
    }

    /// Returns the keys in use, in no order, and drops all others. Keys beyond the maximum are not
    /// among them.
    ///
    /// The keys are cloned under the lock of a shard, so `Clone` must not ask the table.
    pub fn keys(&self) -> Vec<K>
    where
        K: Clone,
    {
        let mut keys = Vec::new();
        for shard in &self.shards {
            // Declared before `locked`, as in `sweep_and_find`.
            let forgotten;
            let mut locked = lock(shard);
            forgotten = locked.sweep(SweepScope::Idle);
            keys.extend(locked.own().map(|entry| entry.key.clone()));
            drop(locked);
            drop(forgotten);
        }
        keys
    }

    /// Returns the number of keys in use, without those beyond the maximum, and drops all others.
    pub fn len(&self) -> usize {
        let count = |shard: &Mutex<KeyShard<K, T, S>>| {
            let mut locked = lock(shard);
            let forgotten = locked.sweep(SweepScope::Idle);
            let len = locked.len();
            drop(locked);
            drop(forgotten);
            len
        };
        self.shards.iter().map(count).sum()
    }

    /// Returns whether [`len`](Self::len) is 0, and drops all keys that are not in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether no key is in use. Drops no key, because the caller may hold the lock of an
    /// outer table. A [share](Fresh::share) counts as in use until the table drops its key.
    pub fn is_idle(&self) -> bool {
        let idle = |shard: &Mutex<KeyShard<K, T, S>>| {
            lock(shard).entries.iter().all(|entry| is_unused(&entry.value))
        };
        is_unused(&self.overflow) && self.shards.iter().all(idle)
    }

    /// Returns the numbers of all values since the table was made, those of the template included.
    pub fn total(&self) -> S {
        // A sweep moves the numbers of dropped values to the shard under the same lock, so each
        // value counts once. No call holds a value that is swept.
        let mut sum = S::default();
        sum.add(&self.template);
        sum.add(&self.overflow);
        for shard in &self.shards {
            let shard = lock(shard);
            sum.merge(&shard.dropped);
            shard.own().for_each(|entry| sum.add(&entry.value));
        }
        sum
    }
}
