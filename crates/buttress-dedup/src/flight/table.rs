use std::hash::Hash;

use buttress_core::{DriveEnd, Driver};
use buttress_state::{
    SeededHash,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
        lock,
    },
};

use super::{
    Flight, SharedResult, WorkSlot,
    shard::{FlightEntry, FlightShard},
};

/// The flights of all keys, in shards with a lock each.
///
/// Locks are taken in the order shard, then relay: `join` and `finish_alone` enter the relay under the lock of
/// a shard. No code of the user runs under the lock of a shard, except `Hash` and `Eq` of a key. Removed
/// entries are dropped after the lock.
pub(crate) struct FlightTable<K, W, A> {
    shards: [PaddedShard<K, W, A>; SHARDS],
    // Randomly seeded and fast. Keys made to collide would cost a search of the flights in progress.
    hasher: SeededHash,
    /// Counts the changes that a call between its lookup and its start may have missed: a result was cached, or
    /// an entry was removed.
    generation: AtomicU64,
    /// The number of flights that continued after their leader had left.
    handovers: AtomicU64,
}

// On cache lines of its own, so that two shards do not slow each other down.
#[repr(align(128))]
struct PaddedShard<K, W, A> {
    flights: Mutex<FlightShard<K, W, A>>,
}

impl<K, W, A> FlightTable<K, W, A>
where
    K: Hash + Eq,
    A: SharedResult,
{
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| PaddedShard::new()),
            hasher: SeededHash::new(),
            generation: AtomicU64::new(0),
            handovers: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(crate) fn hash(&self, key: &K) -> u64 {
        self.hasher.hash(key)
    }

    /// The current generation. Acquire pairs with `bump_generation`: a call that reads the new generation also
    /// finds the entry.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Marks a change of the cache, after the change is visible and before the flight is removed. See
    /// `Flight::store_and_remove`.
    pub(crate) fn bump_generation(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Removes `flight`, so that the next call of its key starts another flight.
    #[inline]
    pub(crate) fn remove(&self, hash: u64, flight: &Flight<K, W, A>) {
        // Compared by address: an invalidation may have removed this flight, and its key may have a newer
        // flight. The entry is dropped after the lock, because its drop runs code of the user.
        drop(self.take(hash, |entry| entry.is_of(flight)));
    }

    /// Removes `flight`, and ends it for the driver, if no other member waits. Then the allocation of the flight
    /// may be reused. Returns whether the flight has ended.
    ///
    /// Both happen under the lock of the shard, so no call joins in between.
    #[inline]
    pub(crate) fn finish_alone(
        &self,
        hash: u64,
        flight: &Flight<K, W, A>,
        driver: &mut Driver<'_, WorkSlot<W>>,
    ) -> bool {
        let Some(shard) = self.shard(hash) else { return false };
        let mut shard = lock(&shard.flights);
        let entry = shard.take(hash, |entry| entry.is_of(flight));
        let end = driver.finish_alone();
        let Some(FlightEntry { key, flight, .. }) = entry else { return end != DriveEnd::Others };
        let left = match end {
            DriveEnd::Reusable => shard.recycle(flight),
            DriveEnd::Alone | DriveEnd::Others => Some(flight),
        };
        drop(shard);
        // After the lock, because the key and a flight that is not recycled run code of the user.
        drop(key);
        drop(left);
        end != DriveEnd::Others
    }

    /// Drops the idle flights, because they hold the table as the table holds them.
    pub(crate) fn drop_idle(&self) {
        for shard in &self.shards {
            let idle = lock(&shard.flights).take_idle();
            drop(idle);
        }
    }

    /// Removes the flight of `key`, and keeps its result out of the cache. Its members still get the result.
    pub(crate) fn invalidate(&self, key: &K) -> bool {
        let entry = self.take(self.hash(key), |entry| entry.key == *key);
        // Between `take` and this call the flight may write its result. The entry holds the same flag, so
        // `CacheEntry::is_valid` rejects it.
        entry.as_ref().inspect(|entry| entry.flight.forbid_caching()).is_some()
    }

    pub(crate) fn invalidate_all(&self) {
        for shard in &self.shards {
            // A flight may begin in a shard that was cleared before. `TypedState::invalidate_all` therefore
            // calls this method twice.
            let flights: Vec<_> = lock(&shard.flights).clear().collect();
            // All flags first. The drop of a key is code of the user, and a panic there must not leave the
            // result of a later flight in the cache.
            for entry in &flights {
                entry.flight.forbid_caching();
            }
        }
    }

    /// Returns the number of flights, and of their members.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        self.count(|shard| {
            // `members` takes the lock of the relay under the lock of the shard, in the order of `join`.
            let waiters = shard.iter().map(|entry| entry.flight.members()).sum();
            (shard.len(), waiters)
        })
    }

    /// Returns the number of flights started so far, and of calls that joined a flight.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.count(|shard| (shard.leaders, shard.followers))
    }

    pub(crate) fn count_handover(&self) {
        // Relaxed: a counter, which publishes no other memory.
        self.handovers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn handovers(&self) -> u64 {
        self.handovers.load(Ordering::Relaxed)
    }

    fn count<N: std::ops::Add<Output = N> + Default>(
        &self,
        count: impl Fn(&FlightShard<K, W, A>) -> (N, N),
    ) -> (N, N) {
        let counts = self.shards.iter().map(|shard| count(&lock(&shard.flights)));
        counts.fold(Default::default(), |(a, b), (c, d)| (a + c, b + d))
    }

    fn take(
        &self,
        hash: u64,
        is_it: impl FnMut(&FlightEntry<K, W, A>) -> bool,
    ) -> Option<FlightEntry<K, W, A>> {
        lock(&self.shard(hash)?.flights).take(hash, is_it)
    }

    /// Locks the shard of `hash`.
    #[inline]
    pub(crate) fn lock_shard(&self, hash: u64) -> Option<MutexGuard<'_, FlightShard<K, W, A>>> {
        Some(lock(&self.shard(hash)?.flights))
    }

    fn shard(&self, hash: u64) -> Option<&PaddedShard<K, W, A>> {
        // The hash table of a shard uses the low bits and the top seven, so the shard takes others.
        self.shards.get((hash >> 32) as usize % SHARDS)
    }
}

impl<K, W, A> PaddedShard<K, W, A> {
    fn new() -> Self {
        Self { flights: Mutex::new(FlightShard::new()) }
    }
}

/// A single shard for loom, which explores every lock.
const SHARDS: usize = if cfg!(buttress_loom) { 1 } else { 16 };
