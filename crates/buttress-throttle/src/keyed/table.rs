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
pub(crate) struct KeyTable<K, L> {
    shards: [Mutex<KeyShard<K, L>>; SHARDS],
    // Seeded, and fast. Keys that were made to collide would cost a search of a shard, which is bounded.
    hasher: DefaultHashBuilder,
    /// What a new key gets a fresh one of.
    template: L,
    /// How often that was changed.
    changes: AtomicUsize,
    /// For the keys that find no room.
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
    /// The limit of `key`, known already or made now.
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
        // Here, because a value that is being returned leaks if a drop panics.
        drop(key);
        known
    }

    #[cold]
    fn sweep_and_find(shard: &Mutex<KeyShard<K, L>>, hash: u64, key: &K) -> Option<Arc<L>> {
        // Keys and limits are dropped after the lock, also if a key's comparison panics.
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
        let forgotten;
        let (fresh, mut locked) = self.fresh_for(shard);
        let full = locked.limits.len() >= most;
        // A flood of new keys must not make each of them look at all the others.
        let due = locked.is_sweep_due(if full { KEPT } else { 0 });
        forgotten = if due { locked.sweep(SweepScope::Idle) } else { Vec::new() };
        let (limit, unused) = match locked.find(hash, &key) {
            // Somebody else came first.
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

    /// A fresh limit, and the lock of its shard, under which no change has passed the limit by.
    fn fresh_for<'a>(
        &self,
        shard: &'a Mutex<KeyShard<K, L>>,
    ) -> (Arc<L>, MutexGuard<'a, KeyShard<K, L>>) {
        loop {
            let changes = self.changes.load(Ordering::Acquire);
            let fresh = Arc::new(self.template.fresh());
            let locked = lock(shard);
            if self.changes.load(Ordering::Acquire) == changes {
                return (fresh, locked);
            }
            drop(locked);
        }
    }

    /// Changes the limits of all keys, of those that are known and those to come.
    pub(crate) fn change(&self, change: impl Fn(&L)) {
        change(&self.template);
        // Whoever has made a limit of the former template sees this, or is seen below.
        self.changes.fetch_add(1, Ordering::Release);
        change(&self.overflow);
        self.for_each(change);
    }

    /// Combines something of the limits of all keys in use.
    ///
    /// Holds the lock of each shard in turn, so that no key is in use because of it: an `Arc` that leaves
    /// the lock would keep its key from being swept.
    pub(crate) fn fold<T>(&self, init: T, mut f: impl FnMut(T, &L) -> T) -> T {
        let sum = f(init, &self.overflow);
        self.shards.iter().fold(sum, |sum, shard| {
            lock(shard).limits.iter().fold(sum, |sum, entry| f(sum, &entry.limit))
        })
    }

    /// Runs `f` without a lock.
    fn for_each(&self, f: impl Fn(&L)) {
        for shard in &self.shards {
            let known = |entry: &KeyEntry<K, L>| Arc::clone(&entry.limit);
            let known: Vec<_> = lock(shard).limits.iter().map(known).collect();
            for limit in &known {
                f(limit);
            }
        }
    }

    /// The limit of a key that is known.
    pub(crate) fn known(&self, key: &K) -> Option<Arc<L>> {
        let hash = self.hasher.hash_one(key);
        lock(self.shard(hash)).find(hash, key)
    }

    /// How many keys are in use.
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

    /// Whether no key is in use. It forgets none: whoever asks may hold the lock of another table.
    pub(crate) fn is_idle(&self) -> bool {
        let idle = |shard: &Mutex<KeyShard<K, L>>| {
            lock(shard).limits.iter().all(|entry| is_unused(&entry.limit))
        };
        is_unused(&self.overflow) && self.shards.iter().all(idle)
    }

    pub(crate) fn admitted(&self) -> [u64; 4] {
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
        // Bits that the table itself does not go by.
        let index = usize::try_from(hash >> 32 & SHARD_MASK).unwrap_or(0);
        self.shards.get(index).unwrap_or(first)
    }
}

const SHARDS: usize = if cfg!(buttress_loom) { 1 } else { 16 };

const SHARD_MASK: u64 = SHARDS as u64 - 1;
