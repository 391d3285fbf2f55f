use std::{
    cell::{Cell, RefCell},
    future::Ready,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use buttress_state::SeededHash;
use quick_cache::{Lifecycle, Options, OptionsBuilder, Weighter, sync::Cache};

use super::{
    Fetched, Intent, OpenStore, Store,
    hashed_key::{HashedKey, KeyQuery, SameHash},
};
use crate::CacheEntry;

/// The store in this process's memory. A full store evicts entries that are rarely used.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub(crate) max_entries: usize,
    pub(crate) max_bytes: usize,
}

impl Default for Memory {
    /// 10,000 entries and 64 MiB.
    fn default() -> Self {
        Self { max_entries: 10_000, max_bytes: 64 << 20 }
    }
}

impl Memory {
    /// Sets the maximum number of entries, as [`Cache::max_entries`](crate::Cache::max_entries) does.
    pub const fn max_entries(mut self, max: usize) -> Self {
        self.max_entries = max;
        self
    }

    /// Sets the maximum bytes of all entries, as [`Cache::max_bytes`](crate::Cache::max_bytes) does.
    pub const fn max_bytes(mut self, max: usize) -> Self {
        self.max_bytes = max;
        self
    }

    fn is_nothing(self) -> bool {
        self.max_entries == 0 || self.max_bytes == 0
    }

    /// The maximum bytes of an entry.
    fn largest(self) -> usize {
        self.max_bytes / 10
    }

    fn options(self) -> Option<Options> {
        let mut options = OptionsBuilder::new();
        options.shards(SHARDS);
        options.estimated_items_capacity(self.max_entries);
        options.weight_capacity(if self.is_nothing() { 0 } else { WHOLE });
        if self.max_entries == 1 {
            // Otherwise quick_cache reserves a part of the capacity, and the one entry finds no room.
            options.hot_allocation(1.0);
        }
        options.build().ok()
    }
}

/// The store of [`Memory`].
pub struct MemoryStore<K, V> {
    cache: Cache<HashedKey<K>, Arc<CacheEntry<V>>, WeightByShare, SameHash, DropOutsideLock>,
    hasher: SeededHash,
    memory: Memory,
    /// The number of inserts until expired entries are swept.
    until_sweep: AtomicUsize,
}

impl<K, V> MemoryStore<K, V>
where
    K: Hash + Eq + Clone,
{
    pub(crate) fn new(memory: Memory) -> Self {
        let (weighter, same) = (WeightByShare::of(memory), SameHash::default());
        let cache = match memory.options() {
            Some(options) => Cache::with_options(options, weighter, same, DropOutsideLock),
            None => Cache::with(0, 0, weighter, same, DropOutsideLock),
        };
        let hasher = SeededHash::new();
        Self { cache, hasher, memory, until_sweep: AtomicUsize::new(SWEEP) }
    }

    #[inline]
    fn query<'a>(&self, key: &'a K) -> KeyQuery<'a, K> {
        KeyQuery { hash: self.hasher.hash(key), key }
    }

    /// Whether there is an entry of the key.
    ///
    /// Asked before a change, because `Eq` is code of the user. A panic under the shared lock is harmless, and
    /// under the exclusive lock it would poison a shard for ever.
    fn contains(&self, query: &KeyQuery<'_, K>) -> bool {
        self.cache.contains_key(query)
    }

    /// Removes expired entries. Returns the number of entries that are left, and their bytes. The next
    /// sweep comes after as many inserts as there are entries now, so its cost per insert is constant.
    fn sweep(&self) -> (usize, u64) {
        // No other insert starts a sweep meanwhile. Relaxed: a second sweep would only cost time.
        self.until_sweep.store(usize::MAX, Ordering::Relaxed);
        let (entries, bytes) = (Cell::new(0), Cell::new(0_u64));
        // Dropped at the end of this function, after the locks of the shards: a drop may run code of the
        // user that uses this store.
        let over = RefCell::new(Vec::new());
        self.cache.retain(|key, entry| {
            let is_over = entry.is_expired();
            if is_over {
                over.borrow_mut().push((key.clone(), Arc::clone(entry)));
            } else {
                entries.set(entries.get() + 1);
                bytes.set(bytes.get().saturating_add(as_u64(entry.weight())));
            }
            !is_over
        });
        self.until_sweep.store(entries.get().max(SWEEP), Ordering::Relaxed);
        (entries.get(), bytes.get())
    }
}

impl<K, V> Store<K, V> for MemoryStore<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    type Lease = ();
    type Fetch = Ready<Fetched<V, ()>>;

    #[inline]
    fn get(&self, key: &K) -> Option<Arc<CacheEntry<V>>> {
        self.cache.get(&self.query(key))
    }

    fn fetch(&self, _: &K, _: Option<u64>, _: Intent<'_, V>) -> Option<Self::Fetch> {
        None
    }

    fn insert(&self, key: K, entry: Arc<CacheEntry<V>>, _: Option<()>) {
        let counted = |remaining: usize| remaining.checked_sub(1);
        // Relaxed: the number decides only when to sweep, and publishes no entry.
        if self.until_sweep.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted).is_err() {
            self.sweep();
        }
        if entry.weight() > self.memory.largest() {
            // Otherwise an older entry of the key would outlive this newer result.
            return self.remove(&key, None);
        }
        let query = self.query(&key);
        self.contains(&query);
        let (hash, mut removed) = (query.hash, Vec::new());
        let key = HashedKey { hash, key: Arc::new(key) };
        self.cache.insert_with_lifecycle(key, entry, &mut removed);
        // After the lock of the shard: the drop of a key or a value runs code of the user, which may call
        // the store.
        drop(removed);
    }

    fn remove(&self, key: &K, _: Option<u64>) {
        let query = self.query(key);
        if self.contains(&query) {
            drop(self.cache.remove(&query));
        }
    }

    fn clear(&self) {
        // One by one, because each entry is dropped after the lock.
        self.cache.drain().for_each(drop);
    }

    fn size(&self) -> (usize, u64) {
        self.sweep()
    }
}

impl<K, V> OpenStore<K, V> for Memory
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    type Store = MemoryStore<K, V>;

    fn open(&self, _: &str) -> MemoryStore<K, V> {
        MemoryStore::new(*self)
    }
}

/// Collects evicted entries, so that they are dropped outside of the locks.
#[derive(Clone, Copy, Debug)]
struct DropOutsideLock;

impl<K, V> Lifecycle<K, V> for DropOutsideLock {
    type RequestState = Vec<(K, V)>;

    fn on_evict(&self, removed: &mut Vec<(K, V)>, key: K, value: V) {
        removed.push((key, value));
    }
}

/// Weighs an entry by its share of `max_bytes`, or by its share of `max_entries` if that is more.
#[derive(Clone, Debug)]
struct WeightByShare {
    max_bytes: u128,
    entry: u64,
}

impl WeightByShare {
    fn of(Memory { max_entries, max_bytes }: Memory) -> Self {
        let entry = (WHOLE / as_u64(max_entries).max(1)).max(1);
        Self { max_bytes: max_bytes.max(1) as u128, entry }
    }
}

impl<K, V> Weighter<K, Arc<CacheEntry<V>>> for WeightByShare {
    #[inline]
    fn weight(&self, _: &K, entry: &Arc<CacheEntry<V>>) -> u64 {
        let share = (entry.weight() as u128 * u128::from(WHOLE)).div_ceil(self.max_bytes);
        u64::try_from(share).unwrap_or(u64::MAX).max(self.entry)
    }
}

fn as_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The weight of the whole capacity. Small enough that sums stay in range. Large enough that the share of
/// an entry among 10^9 is exact to a single entry.
const WHOLE: u64 = 1 << 60;

/// The number of shards. Each entry must fit into a single shard.
const SHARDS: usize = 8;

/// The minimum number of inserts between two sweeps.
const SWEEP: usize = 1024;
