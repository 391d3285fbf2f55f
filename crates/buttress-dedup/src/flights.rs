use std::{
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use buttress_core::{Entry as Entered, Place, Terms};
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::{
    flight::{Flight, Landing},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
        lock,
    },
};

/// The flights of all keys, in shards with a lock each.
pub(crate) struct Flights<K, W, A> {
    shards: [Shard<K, W, A>; SHARDS],
    // Seeded, and fast. Keys that were made to collide would cost a search of those in flight.
    hasher: DefaultHashBuilder,
    /// How many answers were put where the next call finds them.
    landed: AtomicU64,
    /// How often a flight went on without its first caller.
    handed_over: AtomicU64,
}

// A cache line of its own, so that two shards do not slow each other down.
#[repr(align(128))]
struct Shard<K, W, A> {
    departures: Mutex<Departures<K, W, A>>,
}

struct Departures<K, W, A> {
    flights: HashTable<Entry<K, W, A>>,
    led: u64,
    joined: u64,
}

struct Entry<K, W, A> {
    key: K,
    hash: u64,
    flight: Arc<Flight<K, W, A>>,
}

/// What became of a call with a key.
pub(crate) enum Joined<K, W, A> {
    /// It leads a new flight.
    Led(Arc<Flight<K, W, A>>, Place),
    /// It is one of those who wait for a flight that was there.
    Followed(Arc<Flight<K, W, A>>, Place),
    /// It comes from inside the flight that it would wait for.
    Inside,
}

enum Found<K, W, A> {
    Joined(Joined<K, W, A>),
    /// A flight that takes nobody any more.
    Closed,
    Nothing,
}

impl<K, W, A> Flights<K, W, A>
where
    K: Hash + Eq,
    A: Landing,
{
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Shard::new()),
            hasher: DefaultHashBuilder::default(),
            landed: AtomicU64::new(0),
            handed_over: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(crate) fn hash(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    /// How much has landed so far.
    #[inline]
    pub(crate) fn landed(&self) -> u64 {
        self.landed.load(Ordering::Acquire)
    }

    /// Says so, when what has landed can be found.
    pub(crate) fn land(&self) {
        self.landed.fetch_add(1, Ordering::Release);
    }

    /// Joins the flight of `key`, if there is one.
    pub(crate) fn join(&self, key: &K, hash: u64, terms: Terms) -> Option<Joined<K, W, A>> {
        let mut departures = lock(&self.shard(hash)?.departures);
        match departures.join(hash, key, terms) {
            Found::Joined(joined) => Some(joined),
            Found::Closed | Found::Nothing => None,
        }
    }

    /// Joins the flight of `key`, or starts the one that `start` makes, unless something `landed` since.
    ///
    /// The key is taken if a flight is started.
    #[inline]
    pub(crate) fn start(
        &self,
        key: K,
        hash: u64,
        terms: Terms,
        landed: Option<u64>,
        start: impl FnOnce() -> (Flight<K, W, A>, Place),
    ) -> Result<Joined<K, W, A>, K> {
        let Some(shard) = self.shard(hash) else { return Ok(Joined::Inside) };
        let mut departures = lock(&shard.departures);
        let found = departures.join(hash, &key, terms);
        if let Found::Joined(joined) = found {
            drop(departures);
            return Ok(joined);
        }
        if landed.is_some_and(|landed| self.landed() != landed) {
            drop(departures);
            return Err(key);
        }
        let (flight, place) = start();
        let flight = Arc::new(flight);
        let entry = Entry { key, hash, flight: Arc::clone(&flight) };
        departures.led += 1;
        let old = departures.insert(entry, matches!(found, Found::Closed));
        drop(departures);
        drop(old);
        Ok(Joined::Led(flight, place))
    }

    /// Takes `flight` out, so that the next call of its key starts another.
    #[inline]
    pub(crate) fn remove(&self, hash: u64, flight: &Flight<K, W, A>) {
        let is_it = |entry: &Entry<K, W, A>| std::ptr::eq(Arc::as_ptr(&entry.flight), flight);
        drop(self.take(hash, is_it));
    }

    /// Takes the flight of `key` out. Whoever waits for it still gets its answer.
    pub(crate) fn forget(&self, key: &K) -> bool {
        let entry = self.take(self.hash(key), |entry| entry.key == *key);
        entry.as_ref().inspect(|entry| entry.flight.revoke()).is_some()
    }

    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            let flights = std::mem::take(&mut lock(&shard.departures).flights);
            flights.iter().for_each(|entry| entry.flight.revoke());
            drop(flights);
        }
    }

    /// How many flights, and how many callers who wait for them.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        self.count(|departures| {
            let waiters = departures.flights.iter().map(|entry| entry.flight.members()).sum();
            (departures.flights.len(), waiters)
        })
    }

    /// How many flights there were, and how many calls joined one.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.count(|departures| (departures.led, departures.joined))
    }

    pub(crate) fn hand_over(&self) {
        self.handed_over.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn handed_over(&self) -> u64 {
        self.handed_over.load(Ordering::Relaxed)
    }

    fn count<N: std::ops::Add<Output = N> + Default>(
        &self,
        count: impl Fn(&Departures<K, W, A>) -> (N, N),
    ) -> (N, N) {
        let counts = self.shards.iter().map(|shard| count(&lock(&shard.departures)));
        counts.fold(Default::default(), |(a, b), (c, d)| (a + c, b + d))
    }

    fn take(
        &self,
        hash: u64,
        is_it: impl FnMut(&Entry<K, W, A>) -> bool,
    ) -> Option<Entry<K, W, A>> {
        let mut departures = lock(&self.shard(hash)?.departures);
        let (entry, _) = departures.flights.find_entry(hash, is_it).ok()?.remove();
        departures.shrink();
        drop(departures);
        Some(entry)
    }

    fn shard(&self, hash: u64) -> Option<&Shard<K, W, A>> {
        // The table takes the low bits and the top seven.
        self.shards.get((hash >> 32) as usize % SHARDS)
    }
}

impl<K, W, A> Shard<K, W, A> {
    fn new() -> Self {
        let departures = Departures { flights: HashTable::new(), led: 0, joined: 0 };
        Self { departures: Mutex::new(departures) }
    }
}

impl<K: Hash + Eq, W, A: Landing> Departures<K, W, A> {
    #[inline]
    fn join(&mut self, hash: u64, key: &K, terms: Terms) -> Found<K, W, A> {
        let Some(entry) = self.flights.find(hash, |entry| entry.key == *key) else {
            return Found::Nothing;
        };
        match entry.flight.enter(terms) {
            Entered::Member(place) => {
                self.joined += 1;
                Found::Joined(Joined::Followed(Arc::clone(&entry.flight), place))
            }
            Entered::Inside => Found::Joined(Joined::Inside),
            Entered::Closed => Found::Closed,
        }
    }

    /// Puts it in, and returns what was there before, to be dropped.
    #[inline]
    fn insert(&mut self, entry: Entry<K, W, A>, replace: bool) -> Option<Entry<K, W, A>> {
        if replace && let Some(old) = self.flights.find_mut(entry.hash, |old| old.key == entry.key)
        {
            return Some(std::mem::replace(old, entry));
        }
        self.flights.insert_unique(entry.hash, entry, |entry| entry.hash);
        None
    }
}

impl<K, W, A> Departures<K, W, A> {
    /// Gives memory back after a crowd has gone.
    #[inline]
    fn shrink(&mut self) {
        if self.flights.is_empty() && self.flights.capacity() > ROOM {
            self.flights = HashTable::new();
        }
    }
}

/// One for loom, which walks every lock.
const SHARDS: usize = if cfg!(buttress_loom) { 1 } else { 16 };

/// What an empty shard may keep room for.
const ROOM: usize = 64;
