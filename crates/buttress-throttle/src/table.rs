use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::{
    limit::Fresh,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        lock,
    },
};

/// The limits of all keys in use, in shards with a lock each.
pub(crate) struct Table<K, L> {
    shards: [Mutex<Shard<K, L>>; SHARDS],
    // Seeded, and fast. Keys that were made to collide would cost a search of a shard, which is bounded.
    hasher: DefaultHashBuilder,
    /// What a new key gets a fresh one of.
    pub(crate) template: L,
    /// For the keys that find no room.
    overflow: L,
    max_keys: AtomicUsize,
}

struct Entry<K, L> {
    key: K,
    limit: L,
    /// Asked for since the last sweep.
    used: bool,
}

struct Shard<K, L> {
    limits: HashTable<Entry<K, L>>,
    /// So many more lookups until the keys that are not in use are forgotten.
    until_sweep: usize,
    /// Calls that were let through under keys which are forgotten.
    admitted: [u64; 4],
}

impl<K, L: Fresh + Clone> Table<K, L> {
    pub(crate) fn new(template: L) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard::new())),
            hasher: DefaultHashBuilder::default(),
            overflow: template.fresh(),
            template,
            max_keys: AtomicUsize::new(MAX_KEYS),
        }
    }

    pub(crate) fn max_keys(&self, max: usize) {
        self.max_keys.store(max, Ordering::Relaxed);
    }
}

impl<K: Hash + Eq, L: Fresh + Clone> Table<K, L> {
    pub(crate) fn fresh(&self) -> Self {
        let table = Self::new(self.template.fresh());
        table.max_keys(self.max_keys.load(Ordering::Relaxed));
        table
    }

    /// The limit of `key`, known already or made now.
    #[inline]
    pub(crate) fn limit(&self, key: K) -> L {
        let hash = self.hasher.hash_one(&key);
        let shard = self.shard(hash);
        let mut locked = lock(shard);
        let forgotten = locked.forget(&self.hasher);
        let known = locked.find(hash, &key);
        drop(locked);
        // Keys and limits are dropped here, after the lock.
        drop(forgotten);
        known.unwrap_or_else(|| self.limit_of_new(shard, hash, key))
    }

    #[cold]
    fn limit_of_new(&self, shard: &Mutex<Shard<K, L>>, hash: u64, key: K) -> L {
        let fresh = self.template.fresh();
        let most = self.max_keys.load(Ordering::Relaxed).div_ceil(SHARDS);
        let mut locked = lock(shard);
        let full = locked.limits.len() >= most;
        let forgotten = if full { locked.sweep(&self.hasher, Sweep::Idle) } else { Vec::new() };
        let limit = match locked.find(hash, &key) {
            // Somebody else came first.
            Some(known) => known,
            None if locked.limits.len() >= most => self.overflow.clone(),
            None => {
                let entry = Entry { key, limit: fresh.clone(), used: true };
                let hasher = |entry: &Entry<K, L>| self.hasher.hash_one(&entry.key);
                locked.limits.insert_unique(hash, entry, hasher);
                fresh
            }
        };
        drop(locked);
        drop(forgotten);
        limit
    }

    /// The limit of a key that is known.
    pub(crate) fn known(&self, key: &K) -> Option<L> {
        let hash = self.hasher.hash_one(key);
        lock(self.shard(hash)).find(hash, key)
    }

    /// How many keys are in use.
    pub(crate) fn len(&self) -> usize {
        let count = |shard: &Mutex<Shard<K, L>>| {
            let mut locked = lock(shard);
            let forgotten = locked.sweep(&self.hasher, Sweep::Idle);
            let len = locked.limits.len();
            drop(locked);
            drop(forgotten);
            len
        };
        self.shards.iter().map(count).sum()
    }

    /// The template, what is for further keys, and the limits of all keys that are known.
    pub(crate) fn all(&self) -> Vec<L> {
        let mut all = vec![self.template.clone(), self.overflow.clone()];
        for shard in &self.shards {
            all.extend(lock(shard).limits.iter().map(|entry| entry.limit.clone()));
        }
        all
    }

    pub(crate) fn admitted(&self) -> [u64; 4] {
        let forgotten = self.shards.iter().map(|shard| lock(shard).admitted);
        let mut sum = [0; 4];
        for counts in forgotten.chain(self.all().iter().map(Fresh::admitted)) {
            add(&mut sum, counts);
        }
        sum
    }

    #[inline]
    fn shard(&self, hash: u64) -> &Mutex<Shard<K, L>> {
        let [first, ..] = &self.shards;
        // Bits that the table itself does not go by.
        let index = usize::try_from(hash >> 32 & SHARD_MASK).unwrap_or(0);
        self.shards.get(index).unwrap_or(first)
    }
}

impl<K, L> Shard<K, L> {
    const fn new() -> Self {
        Self { limits: HashTable::new(), until_sweep: KEPT, admitted: [0; 4] }
    }
}

impl<K: Hash + Eq, L: Fresh + Clone> Shard<K, L> {
    #[inline]
    fn find(&mut self, hash: u64, key: &K) -> Option<L> {
        let entry = self.limits.find_mut(hash, |entry| entry.key == *key)?;
        entry.used = true;
        Some(entry.limit.clone())
    }

    /// Takes out all that are not in use, if it is time for that: after as many lookups as there are
    /// keys, so that each lookup pays for one. Those asked for since the last time stay, for they may
    /// be asked for again.
    #[inline]
    fn forget(&mut self, hasher: &DefaultHashBuilder) -> Vec<Entry<K, L>> {
        self.until_sweep = self.until_sweep.saturating_sub(1);
        if self.until_sweep > 0 { Vec::new() } else { self.sweep(hasher, Sweep::Unused) }
    }

    #[cold]
    fn sweep(&mut self, hasher: &DefaultHashBuilder, which: Sweep) -> Vec<Entry<K, L>> {
        let forgotten = |entry: &mut Entry<K, L>| {
            let used = std::mem::replace(&mut entry.used, false);
            // A limit that somebody else holds is in use, and nobody can get hold of it meanwhile.
            (!used || which == Sweep::Idle) && entry.limit.is_idle()
        };
        let idle: Vec<_> = self.limits.extract_if(forgotten).collect();
        for entry in &idle {
            add(&mut self.admitted, entry.limit.admitted());
        }
        let room = self.limits.len().max(KEPT) * 2;
        if self.limits.capacity() > room * 2 {
            self.limits.shrink_to(room, |entry| hasher.hash_one(&entry.key));
        }
        self.until_sweep = self.limits.len().max(KEPT);
        idle
    }
}

/// Which keys of those that nobody holds a sweep forgets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sweep {
    /// Those that were not asked for lately.
    Unused,
    /// All.
    Idle,
}

fn add(sum: &mut [u64; 4], counts: [u64; 4]) {
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum += count;
    }
}

const SHARDS: usize = if cfg!(buttress_loom) { 1 } else { 16 };

const SHARD_MASK: u64 = SHARDS as u64 - 1;

/// So many keys that are not in use a shard may keep.
const KEPT: usize = if cfg!(buttress_loom) { 2 } else { 64 };

const MAX_KEYS: usize = 65_536;
