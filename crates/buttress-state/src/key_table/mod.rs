mod all_keys;
mod fresh;
mod shard;

use std::{borrow::Borrow, fmt, hash::Hash, sync::Arc};

use buttress_core::KeyLookup;

pub use self::fresh::{Fresh, Total};
use self::shard::{KEPT, KeyShard, SweepScope};
use crate::{
    seeded_hash::SeededHash,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
        lock,
    },
};

/// The values of all keys in use, in shards with a lock each.
///
/// Values are created, and keys and values are dropped, outside of the lock of a shard. A value or a
/// key may do anything there, such as make a call through this same table. Under the lock run the
/// comparison of keys, the methods of [`Fresh`] and [`Total`] that say so, and what
/// [`fold`](Self::fold) and [`keys`](Self::keys) name.
pub struct KeyTable<K, T, S = ()> {
    shards: [Mutex<KeyShard<K, T, S>>; SHARDS],
    // Fast rather than strong: keys crafted to collide would cost a search of a shard, whose size is
    // bounded.
    hasher: SeededHash,
    /// The value that new keys get a fresh one of.
    template: T,
    /// The number of changes to the template: see [`KeyTable::change`].
    changes: AtomicUsize,
    /// The value that keys share if there is no room. [`Fresh::share`] says how.
    overflow: Arc<T>,
    max_keys: usize,
}

impl<K, T: Fresh, S: Total<T>> KeyTable<K, T, S> {
    /// Creates a table without keys. `max_keys` limits the number of keys, in steps of 16.
    ///
    /// All further keys share a value.
    pub fn new(template: T, max_keys: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(KeyShard::new())),
            hasher: SeededHash::new(),
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

    /// Returns the value that keys share if there is no room. [`Fresh::share`] says how.
    #[inline]
    pub fn overflow(&self) -> &T {
        &self.overflow
    }

    /// Returns the maximum number of keys, as given to [`new`](Self::new).
    #[inline]
    pub const fn max_keys(&self) -> usize {
        self.max_keys
    }
}

impl<K: Hash + Eq, T: Fresh, S: Total<T>> KeyTable<K, T, S> {
    /// Returns the value of `key`, created if the key is not in use.
    ///
    /// While the table has no room, keys that are not in use [share](Fresh::share) a value.
    #[inline]
    pub fn get(&self, key: K) -> Arc<T> {
        let hash = self.hasher.hash(&key);
        let Some(known) = self.find_known(hash, &key) else { return self.insert(hash, key) };
        // Drop the key here: if its drop panicked while `known` is returned, `known` would leak.
        drop(key);
        known
    }

    /// Returns the value of `key` as [`get`](Self::get) does, and makes an owned key of a borrowed
    /// key only if the key is not in use.
    ///
    /// `own` must return a key that is equal to the borrowed key. No lock is held while `own` runs.
    #[inline]
    pub fn get_by<'a, Q>(&self, key: &'a Q, own: impl FnOnce(&'a Q) -> K) -> Arc<T>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash(key);
        match self.find_known(hash, key) {
            Some(known) => known,
            None => self.insert(hash, own(key)),
        }
    }

    /// Returns the value of a key in use, for a call.
    ///
    /// As with [`get`](Self::get), the call pays for the sweep of one key. [`known`](Self::known) is
    /// for handles, and never sweeps.
    #[inline]
    pub fn find<Q>(&self, key: &Q) -> Option<Arc<T>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.find_known(self.hasher.hash(key), key)
    }

    /// Returns the value of a key in use. Counts as a use of the key.
    pub fn known<Q>(&self, key: &Q) -> Option<Arc<T>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash(key);
        lock(self.shard(hash)).find(hash, key)
    }

    #[inline]
    fn find_known<Q>(&self, hash: u64, key: &Q) -> Option<Arc<T>>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let shard = self.shard(hash);
        let mut locked = lock(shard);
        if locked.is_sweep_due(1) {
            drop(locked);
            return Self::sweep_and_find(shard, hash, key);
        }
        locked.find(hash, key)
    }

    #[cold]
    fn sweep_and_find<Q>(shard: &Mutex<KeyShard<K, T, S>>, hash: u64, key: &Q) -> Option<Arc<T>>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
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
    fn insert(&self, hash: u64, key: K) -> Arc<T> {
        let shard = self.shard(hash);
        let most = self.max_keys.div_ceil(SHARDS);
        // Declared before `locked`, as in `sweep_and_find`. `key` outlives the lock too.
        let (forgotten, unheld);
        let (fresh, mut locked) = self.fresh_for(shard);
        let full = locked.len() >= most;
        // A full shard counts a new key for `KEPT` lookups. So a flood of new keys sweeps a shard
        // of `n` keys once per `n / KEPT` new keys, and not once per key.
        let due = locked.is_sweep_due(if full { KEPT } else { 0 });
        forgotten = if due { locked.sweep(SweepScope::Idle) } else { Vec::new() };
        unheld = locked.take_unheld(hash, &key);
        let (value, unused) = match locked.find(hash, &key) {
            // Another call inserted the key while this one created a value.
            Some(known) => (known, Some(key)),
            None if locked.len() < most => {
                locked.insert(hash, key, Arc::clone(&fresh), false);
                (fresh, None)
            }
            None => match self.share(most) {
                // Remembered: if the next call of the key got another value while a call holds the
                // share, the key would have two states.
                Some(extra) => {
                    locked.insert(hash, key, Arc::clone(&extra), true);
                    (extra, None)
                }
                None => (Arc::clone(&self.overflow), Some(key)),
            },
        };
        drop(locked);
        drop((forgotten, unheld, unused));
        value
    }

    /// A share for a key beyond the maximum. If no key has a value of its own, no key need be
    /// remembered.
    fn share(&self, most: usize) -> Option<Arc<T>> {
        if most == 0 { None } else { T::share(&self.overflow).map(Arc::new) }
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

    #[inline]
    fn shard(&self, hash: u64) -> &Mutex<KeyShard<K, T, S>> {
        let [first, ..] = &self.shards;
        // Other bits than those that select a bucket inside the shard.
        let index = usize::try_from(hash >> 32 & SHARD_MASK).unwrap_or(0);
        self.shards.get(index).unwrap_or(first)
    }
}

/// So [`KeyOf::look_up`](buttress_core::KeyOf::look_up) finds the value of a request.
impl<K: Hash + Eq, T: Fresh, S: Total<T>> KeyLookup<K> for &KeyTable<K, T, S> {
    type Found = Arc<T>;

    #[inline]
    fn find(self, key: K) -> Arc<T> {
        self.get(key)
    }

    #[inline]
    fn find_by<'a, Q>(self, key: &'a Q, own: impl FnOnce(&'a Q) -> K) -> Arc<T>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get_by(key, own)
    }
}

impl<K, T, S> fmt::Debug for KeyTable<K, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyTable").finish_non_exhaustive()
    }
}

const SHARDS: usize = if cfg!(buttress_loom) { 1 } else { 16 };

const SHARD_MASK: u64 = SHARDS as u64 - 1;
