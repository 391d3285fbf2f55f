use std::{
    future::Ready,
    hash::Hash,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use hashbrown::DefaultHashBuilder;
use quick_cache::{
    OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};

use crate::{Kept, Store};

/// Keeps answers in this process's memory: the ones that are asked for, as long as there is room.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub(crate) max_entries: usize,
    pub(crate) max_bytes: usize,
}

impl Default for Memory {
    /// 10,000 answers and 64 MiB.
    fn default() -> Self {
        Self { max_entries: 10_000, max_bytes: 64 << 20 }
    }
}

/// The store of [`Memory`].
pub struct MemoryStore<K, V> {
    cache: Cache<K, Arc<Kept<V>>, ByWeight, DefaultHashBuilder>,
    /// So many more answers until those that are over are forgotten.
    until_sweep: AtomicUsize,
}

impl<K, V> MemoryStore<K, V>
where
    K: Hash + Eq + Clone,
{
    pub(crate) fn new(Memory { max_entries, max_bytes }: Memory) -> Self {
        let least = max_bytes.checked_div(max_entries).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .estimated_items_capacity(max_entries)
            .weight_capacity(as_u64(max_bytes))
            .build();
        let weighter = ByWeight { least: as_u64(least).max(1) };
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        let cache = match options {
            Ok(options) => Cache::with_options(options, weighter, hasher, lifecycle),
            Err(_) => Cache::with(0, 0, weighter, hasher, lifecycle),
        };
        Self { cache, until_sweep: AtomicUsize::new(SWEEP) }
    }

    /// Forgets what is over. Each look at all of them is paid by as many answers put in.
    fn sweep(&self) {
        self.until_sweep.store(self.cache.len().max(SWEEP), Ordering::Relaxed);
        // They are dropped here, after the locks.
        let over = Mutex::new(Vec::new());
        self.cache.retain(|_, kept| {
            let is_over = kept.is_over();
            if is_over {
                over.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(kept));
            }
            !is_over
        });
    }
}

impl<K, V> Store<K, V> for MemoryStore<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    type Get = Ready<Option<Arc<Kept<V>>>>;

    #[inline]
    fn peek(&self, key: &K) -> Option<Arc<Kept<V>>> {
        self.cache.get(key)
    }

    fn get(&self, _: &K) -> Option<Self::Get> {
        None
    }

    fn put(&self, key: K, kept: Arc<Kept<V>>) {
        let counted = |left: usize| left.checked_sub(1);
        if self.until_sweep.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted).is_err() {
            self.sweep();
        }
        // What it takes the place of is dropped here, after the lock.
        let old = self.cache.remove(&key);
        self.cache.insert(key, kept);
        drop(old);
    }

    fn remove(&self, key: &K) {
        drop(self.cache.remove(key));
    }

    fn clear(&self) {
        self.cache.clear();
    }

    fn size(&self) -> (usize, u64) {
        self.sweep();
        (self.cache.len(), self.cache.weight())
    }
}

/// Each answer counts with its bytes, and at least so much that the most bytes are the most entries too.
#[derive(Clone, Debug)]
struct ByWeight {
    least: u64,
}

impl<K, V> Weighter<K, Arc<Kept<V>>> for ByWeight {
    #[inline]
    fn weight(&self, _: &K, kept: &Arc<Kept<V>>) -> u64 {
        as_u64(kept.weight()).max(self.least)
    }
}

fn as_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// An answer has room in one of them.
const SHARDS: usize = 8;

/// The fewest answers between two sweeps.
const SWEEP: usize = 1024;
