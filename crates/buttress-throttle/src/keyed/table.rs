use std::{
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use hashbrown::DefaultHashBuilder;

use super::shard::{KEPT, KeyEntry, KeyShard, SweepScope, add, is_unused};
use crate::{
    limit::LimitTemplate,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
        lock,
    },
};

/// The limits of all keys in use, in shards with a lock each.
///
/// Under the lock of a shard no user code runs except the comparison of keys: limits are created,
/// and keys and limits are dropped, outside. A cost or a key may do anything, such as make a call
/// through this same table.
pub(crate) struct KeyTable<K, L> {
    shards: [Mutex<KeyShard<K, L>>; SHARDS],
    // Seeded and fast. Keys crafted to collide would cost a search of a shard, whose size is
    // bounded.
    hasher: DefaultHashBuilder,
    /// The limit that new keys get a fresh one of.
    template: L,
    /// The number of changes to the template: see [`KeyTable::change`].
    changes: AtomicUsize,
    /// The limit that keys share if there is no room.
    overflow: Arc<L>,
    max_keys: usize,
}

impl<K, L: LimitTemplate + Clone> KeyTable<K, L> {
    pub(crate) fn new(template: L, max_keys: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(KeyShard::new())),
            hasher: DefaultHashBuilder::default(),
            overflow: Arc::new(template.fresh()),
            template,
            changes: AtomicUsize::new(0),
            max_keys,
        }
    }

    pub(crate) const fn template(&self) -> &L {
        &self.template
    }

    pub(crate) const fn max_keys(&self) -> usize {
        self.max_keys
    }
}

impl<K: Hash + Eq, L: LimitTemplate + Clone> KeyTable<K, L> {
    /// The limit of `key`, created if the key is not in use.
    #[inline]
    pub(crate) fn limit(&self, key: K) -> Arc<L> {
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
        let Some(known) = known else { return self.limit_of_new(shard, hash, key) };
        // Drop the key here: if its drop panicked while `known` is returned, `known` would leak.
        drop(key);
        known
    }

    #[cold]
    fn sweep_and_find(shard: &Mutex<KeyShard<K, L>>, hash: u64, key: &K) -> Option<Arc<L>> {
        // Declared before `locked`, so that keys and limits are dropped after the lock is released,
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
    fn limit_of_new(&self, shard: &Mutex<KeyShard<K, L>>, hash: u64, key: K) -> Arc<L> {
        let most = self.max_keys.div_ceil(SHARDS);
        // Declared before `locked`, as in `sweep_and_find`. `key` outlives the lock too.
        let forgotten;
        let (fresh, mut locked) = self.fresh_for(shard);
        let full = locked.limits.len() >= most;
        // A full shard counts a new key for `KEPT` lookups. So a flood of new keys sweeps a shard
        // of `n` keys once per `n / KEPT` new keys, and not once per key.
        let due = locked.is_sweep_due(if full { KEPT } else { 0 });
        forgotten = if due { locked.sweep(SweepScope::Idle) } else { Vec::new() };
        let (limit, unused) = match locked.find(hash, &key) {
            // Another call inserted the key while this one created a limit.
            Some(known) => (known, Some(key)),
            None if locked.limits.len() >= most => (Arc::clone(&self.overflow), Some(key)),
            None => {
                let entry = KeyEntry { key, hash, limit: Arc::clone(&fresh), used: true };
                locked.limits.insert_unique(hash, entry, |entry| entry.hash);
                (fresh, None)
            }
        };
        drop(locked);
        drop((forgotten, unused));
        limit
    }

    /// A fresh limit, and the lock of its shard. The loop makes sure that no
    /// [`change`](Self::change) misses the limit.
    fn fresh_for<'a>(
        &self,
        shard: &'a Mutex<KeyShard<K, L>>,
    ) -> (Arc<L>, MutexGuard<'a, KeyShard<K, L>>) {
        loop {
            let changes = self.changes.load(Ordering::Acquire);
            // Not under the lock, because `fresh` clones the user's closures.
            let fresh = Arc::new(self.template.fresh());
            let locked = lock(shard);
            // Under the lock: a `change` after this look waits for the lock and then finds the
            // limit in the shard. A `change` before it has raised the count.
            if self.changes.load(Ordering::Acquire) == changes {
                return (fresh, locked);
            }
            drop(locked);
        }
    }

    /// Changes the limits of all keys, of those in use and of later ones.
    pub(crate) fn change(&self, change: impl Fn(&L)) {
        change(&self.template);
        // Release, paired with the acquire loads in `fresh_for`: a call that made a limit of the
        // former template sees the new count and starts over, or `for_each` finds its limit below.
        self.changes.fetch_add(1, Ordering::Release);
        change(&self.overflow);
        self.for_each(change);
    }

    /// Combines something of the limits of all keys in use.
    ///
    /// Holds the lock of each shard in turn, so that no key is in use because of it: an `Arc` that
    /// leaves the lock would keep its key from being swept.
    pub(crate) fn fold<T>(&self, init: T, mut f: impl FnMut(T, &L) -> T) -> T {
        let sum = f(init, &self.overflow);
        self.shards.iter().fold(sum, |sum, shard| {
            lock(shard).limits.iter().fold(sum, |sum, entry| f(sum, &entry.limit))
        })
    }

    /// Calls `f` for each limit in use, without holding a lock, because `f` may run user code.
    fn for_each(&self, f: impl Fn(&L)) {
        for shard in &self.shards {
            let known = |entry: &KeyEntry<K, L>| Arc::clone(&entry.limit);
            // The clones keep these keys from being swept until `f` has run.
            let known: Vec<_> = lock(shard).limits.iter().map(known).collect();
            for limit in &known {
                f(limit);
            }
        }
    }

    /// The limit of a key in use.
    pub(crate) fn known(&self, key: &K) -> Option<Arc<L>> {
        let hash = self.hasher.hash_one(key);
        lock(self.shard(hash)).find(hash, key)
    }

    /// The number of keys in use. Drops all others.
    pub(crate) fn len(&self) -> usize {
        let count = |shard: &Mutex<KeyShard<K, L>>| {
            let mut locked = lock(shard);
            let forgotten = locked.sweep(SweepScope::Idle);
            let len = locked.limits.len();
            drop(locked);
            drop(forgotten);
            len
        };
        self.shards.iter().map(count).sum()
    }

    /// Whether no key is in use. Drops no key, because the caller may hold the lock of an outer
    /// table.
    pub(crate) fn is_idle(&self) -> bool {
        let idle = |shard: &Mutex<KeyShard<K, L>>| {
            lock(shard).limits.iter().all(|entry| is_unused(&entry.limit))
        };
        is_unused(&self.overflow) && self.shards.iter().all(idle)
    }

    pub(crate) fn admitted(&self) -> [u64; 4] {
        // A sweep moves the counts of dropped keys to the shard under the same lock, so each call
        // is counted once. No call holds a key that is swept.
        let mut sum = self.template.admitted();
        add(&mut sum, self.overflow.admitted());
        for shard in &self.shards {
            let shard = lock(shard);
            add(&mut sum, shard.admitted);
            shard.limits.iter().for_each(|entry| add(&mut sum, entry.limit.admitted()));
        }
        sum
    }

    #[inline]
    fn shard(&self, hash: u64) -> &Mutex<KeyShard<K, L>> {
        let [first, ..] = &self.shards;
        // Other bits than those that select a bucket inside the shard.
        let index = usize::try_from(hash >> 32 & SHARD_MASK).unwrap_or(0);
        self.shards.get(index).unwrap_or(first)
    }
}

const SHARDS: usize = if cfg!(buttress_loom) { 1 } else { 16 };

const SHARD_MASK: u64 = SHARDS as u64 - 1;
