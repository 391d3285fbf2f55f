mod fresh;
mod shard;

use std::{
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use hashbrown::DefaultHashBuilder;

pub use self::fresh::{Fresh, Tally};
use self::shard::{KEPT, KeyEntry, KeyShard, SweepScope, is_unused};
use crate::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
    lock,
};

/// The values of all keys in use, in shards with a lock each.
///
/// Under the lock of a shard no user code runs except the comparison of keys: values are created,
/// and keys and values are dropped, outside. A value or a key may do anything there, such as make a
/// call through this same table.
pub struct KeyTable<K, T, S = ()> {
    shards: [Mutex<KeyShard<K, T, S>>; SHARDS],
    // Seeded and fast. Keys crafted to collide would cost a search of a shard, whose size is
    // bounded.
    hasher: DefaultHashBuilder,
    /// The value that new keys get a fresh one of.
    template: T,
    /// The number of changes to the template: see [`KeyTable::change`].
    changes: AtomicUsize,
    /// The value that keys share if there is no room.
    overflow: Arc<T>,
    max_keys: usize,
}

impl<K, T: Fresh, S: Tally<T>> KeyTable<K, T, S> {
    /// Creates a table without keys. `max_keys` limits the number of keys, in steps of 16.
    ///
    /// All further keys share a value.
    pub fn new(template: T, max_keys: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(KeyShard::new())),
            hasher: DefaultHashBuilder::default(),
            overflow: Arc::new(template.fresh()),
            template,
            changes: AtomicUsize::new(0),
            max_keys,
        }
    }

    /// Returns the value that the value of a new key is made of.
    #[inline]
    pub const fn template(&self) -> &T {
        &self.template
    }

    /// Returns the maximum number of keys, as given to [`new`](Self::new).
    #[inline]
    pub const fn max_keys(&self) -> usize {
        self.max_keys
    }
}

impl<K: Hash + Eq, T: Fresh, S: Tally<T>> KeyTable<K, T, S> {
    /// Returns the value of `key`, created if the key is not in use.
    ///
    /// While the table has no room, keys that are not in use share a value.
    #[inline]
    pub fn get(&self, key: K) -> Arc<T> {
        let hash = self.hasher.hash_one(&key);
        let shard = self.shard(hash);
        let mut locked = lock(shard);
        let known = if locked.is_sweep_due(1) {
            drop(locked);
            Self::sweep_and_find(shard, hash, &key)
        } else {
            let known = locked.find(hash, &key);
            drop(locked);
            known
        };
        let Some(known) = known else { return self.insert(shard, hash, key) };
        // Drop the key here: if its drop panicked while `known` is returned, `known` would leak.
        drop(key);
        known
    }

    #[cold]
    fn sweep_and_find(shard: &Mutex<KeyShard<K, T, S>>, hash: u64, key: &K) -> Option<Arc<T>> {
        // Declared before `locked`, so that keys and values are dropped after the lock is released,
        // also if a key's comparison panics. Their drops are user code.
        let forgotten;
        let mut locked = lock(shard);
        forgotten = locked.sweep(SweepScope::Unused);
        let known = locked.find(hash, key);
        drop(locked);
        drop(forgotten);
        known
    }

    #[cold]
    fn insert(&self, shard: &Mutex<KeyShard<K, T, S>>, hash: u64, key: K) -> Arc<T> {
        let most = self.max_keys.div_ceil(SHARDS);
        // Declared before `locked`, as in `sweep_and_find`. `key` outlives the lock too.
        let forgotten;
        let (fresh, mut locked) = self.fresh_for(shard);
        let full = locked.entries.len() >= most;
        // A full shard counts a new key for `KEPT` lookups. So a flood of new keys sweeps a shard
        // of `n` keys once per `n / KEPT` new keys, and not once per key.
        let due = locked.is_sweep_due(if full { KEPT } else { 0 });
        forgotten = if due { locked.sweep(SweepScope::Idle) } else { Vec::new() };
        let (value, unused) = match locked.find(hash, &key) {
            // Another call inserted the key while this one created a value.
            Some(known) => (known, Some(key)),
            None if locked.entries.len() >= most => (Arc::clone(&self.overflow), Some(key)),
            None => {
                let entry = KeyEntry { key, hash, value: Arc::clone(&fresh), used: true };
                locked.entries.insert_unique(hash, entry, |entry| entry.hash);
                (fresh, None)
            }
        };
        drop(locked);
        drop((forgotten, unused));
        value
    }

    /// A fresh value, and the lock of its shard. The loop makes sure that no
    /// [`change`](Self::change) misses the value.
    fn fresh_for<'a>(
        &self,
        shard: &'a Mutex<KeyShard<K, T, S>>,
    ) -> (Arc<T>, MutexGuard<'a, KeyShard<K, T, S>>) {
        loop {
            let changes = self.changes.load(Ordering::Acquire);
            // Not under the lock, because `fresh` may run user code.
            let fresh = Arc::new(self.template.fresh());
            let locked = lock(shard);
            // Under the lock: a `change` after this look waits for the lock and then finds the
            // value in the shard. A `change` before it has raised the count.
            if self.changes.load(Ordering::Acquire) == changes {
                return (fresh, locked);
            }
            drop(locked);
        }
    }

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
        self.shards.iter().fold(sum, |sum, shard| {
            lock(shard).entries.iter().fold(sum, |sum, entry| f(sum, &entry.value))
        })
    }

    /// Calls `f` for each value in use, without holding a lock, because `f` may run user code.
    fn for_each(&self, f: impl Fn(&T)) {
        for shard in &self.shards {
            let known = |entry: &KeyEntry<K, T>| Arc::clone(&entry.value);
            // The clones keep these keys from being swept until `f` has run.
            let known: Vec<_> = lock(shard).entries.iter().map(known).collect();
            for value in &known {
                f(value);
            }
        }
    }

    /// Returns the value of a key in use.
    pub fn known(&self, key: &K) -> Option<Arc<T>> {
        let hash = self.hasher.hash_one(key);
        lock(self.shard(hash)).find(hash, key)
    }

    /// Returns the number of keys in use, and drops all others.
    pub fn len(&self) -> usize {
        let count = |shard: &Mutex<KeyShard<K, T, S>>| {
            let mut locked = lock(shard);
            let forgotten = locked.sweep(SweepScope::Idle);
            let len = locked.entries.len();
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
    /// outer table.
    pub fn is_idle(&self) -> bool {
        let idle = |shard: &Mutex<KeyShard<K, T, S>>| {
            lock(shard).entries.iter().all(|entry| is_unused(&entry.value))
        };
        is_unused(&self.overflow) && self.shards.iter().all(idle)
    }

    /// Returns the numbers of all values since the table was made, those of the template included.
    pub fn tally(&self) -> S {
        // A sweep moves the numbers of dropped values to the shard under the same lock, so each
        // value counts once. No call holds a value that is swept.
        let mut sum = S::default();
        sum.add(&self.template);
        sum.add(&self.overflow);
        for shard in &self.shards {
            let shard = lock(shard);
            sum.merge(&shard.dropped);
            shard.entries.iter().for_each(|entry| sum.add(&entry.value));
        }
        sum
    }

    #[inline]
    fn shard(&self, hash: u64) -> &Mutex<KeyShard<K, T, S>> {
        let [first, ..] = &self.shards;
        // Other bits than those that select a bucket inside the shard.
        let index = usize::try_from(hash >> 32 & SHARD_MASK).unwrap_or(0);
        self.shards.get(index).unwrap_or(first)
    }
}

const SHARDS: usize = if cfg!(buttress_loom) { 1 } else { 16 };

const SHARD_MASK: u64 = SHARDS as u64 - 1;
