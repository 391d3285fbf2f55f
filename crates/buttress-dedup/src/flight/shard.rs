use std::{hash::Hash, sync::Arc};

use buttress_core::{Ambient, Join as Entered, MemberId};
use hashbrown::HashTable;

use super::{Flight, SharedResult};
use crate::cache::ResourceGeneration;

/// The flights of a shard.
pub(crate) struct FlightShard<K, W, A> {
    /// The first flight, so that a single flight needs no hash table.
    single: Option<FlightEntry<K, W, A>>,
    others: HashTable<FlightEntry<K, W, A>>,
    /// Ended flights, whose allocations the next flights reuse.
    idle: Vec<Arc<Flight<K, W, A>>>,
    pub(crate) leaders: u64,
    pub(crate) followers: u64,
}

pub(crate) struct FlightEntry<K, W, A> {
    pub(crate) key: K,
    pub(crate) hash: u64,
    pub(crate) flight: Arc<Flight<K, W, A>>,
}

impl<K, W, A> FlightEntry<K, W, A> {
    pub(crate) fn is_of(&self, flight: &Flight<K, W, A>) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.flight), flight)
    }
}

/// How a call with a key was assigned to a flight.
pub(crate) enum Joined<K, W, A> {
    /// The call leads a new flight.
    Leader(Arc<Flight<K, W, A>>, MemberId),
    /// The call has joined a flight.
    Follower(Arc<Flight<K, W, A>>, MemberId),
    /// The call was made inside the flight that it would wait for.
    Reentrant,
}

pub(crate) enum Lookup<K, W, A> {
    Joined(Joined<K, W, A>),
    /// There is a flight with a result, which is joined outside of the lock.
    Answered,
    /// There is a flight that accepts no more callers.
    Closed,
    Nothing,
}

impl<K, W, A> FlightShard<K, W, A> {
    pub(crate) const fn new() -> Self {
        Self { single: None, others: HashTable::new(), idle: Vec::new(), leaders: 0, followers: 0 }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &FlightEntry<K, W, A>> {
        self.single.iter().chain(self.others.iter())
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.single.is_some()) + self.others.len()
    }

    /// Removes the entry for which `is_it` holds.
    #[inline]
    pub(crate) fn take(
        &mut self,
        hash: u64,
        mut is_it: impl FnMut(&FlightEntry<K, W, A>) -> bool,
    ) -> Option<FlightEntry<K, W, A>> {
        // `is_it` may run `Eq` of the key, which may panic. So the search ends before the first change, as
        // `buttress_state::sync::lock` demands.
        match &self.single {
            Some(entry) if entry.hash == hash && is_it(entry) => self.single.take(),
            _ if self.others.is_empty() => None,
            _ => self.search(hash, is_it),
        }
    }

    /// Removes all entries.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = FlightEntry<K, W, A>> + use<K, W, A> {
        // Moved out of the shard: `FlightTable::invalidate_all` drops the entries after the lock, because
        // their drop runs code of the user.
        self.single.take().into_iter().chain(std::mem::take(&mut self.others))
    }

    /// Removes the idle flights.
    pub(crate) fn take_idle(&mut self) -> Vec<Arc<Flight<K, W, A>>> {
        std::mem::take(&mut self.idle)
    }

    /// Keeps an ended flight for reuse. Gives it back if there are enough: its drop belongs outside of the
    /// lock.
    #[inline]
    pub(crate) fn recycle(&mut self, flight: Arc<Flight<K, W, A>>) -> Option<Arc<Flight<K, W, A>>> {
        if self.idle.len() >= IDLE {
            return Some(flight);
        }
        // The driver, its membership or a waker of the service may still hold the flight. `Flight::begin`
        // tests for that before reuse.
        self.idle.push(flight);
        None
    }

    #[inline]
    pub(crate) fn pop_idle(&mut self) -> Option<Arc<Flight<K, W, A>>> {
        self.idle.pop()
    }

    #[cold]
    fn search(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&FlightEntry<K, W, A>) -> bool,
    ) -> Option<FlightEntry<K, W, A>> {
        let (entry, _) = self.others.find_entry(hash, is_it).ok()?.remove();
        // Gives the memory of many flights back once they have ended.
        if self.others.is_empty() && self.others.capacity() > ROOM {
            self.others = HashTable::new();
        }
        Some(entry)
    }
}

impl<K: Hash + Eq, W, A: SharedResult> FlightShard<K, W, A> {
    /// Joins the flight of `key`, unless the flight has a result.
    #[inline]
    pub(crate) fn join(
        &mut self,
        hash: u64,
        key: &K,
        ambient: Ambient,
        resource_generation: ResourceGeneration,
    ) -> Lookup<K, W, A> {
        let Some(entry) = self.find(hash, key) else { return Lookup::Nothing };
        let flight = &entry.flight;
        if flight.is_outdated(resource_generation) {
            return Lookup::Closed;
        }
        if flight.result().is_some() {
            return Lookup::Answered;
        }
        match flight.join(ambient) {
            Entered::Member(member) => {
                let flight = Arc::clone(flight);
                self.followers += 1;
                Lookup::Joined(Joined::Follower(flight, member))
            }
            Entered::Reentrant => Lookup::Joined(Joined::Reentrant),
            Entered::Closed => Lookup::Closed,
        }
    }

    /// The entry of `key`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &K) -> Option<&FlightEntry<K, W, A>> {
        match &self.single {
            Some(entry) if entry.hash == hash && entry.key == *key => Some(entry),
            _ if self.others.is_empty() => None,
            _ => self.others.find(hash, |entry| entry.key == *key),
        }
    }

    /// Removes the flight of `key`, which accepts no more callers, to replace it.
    #[cold]
    pub(crate) fn take_closed(&mut self, hash: u64, key: &K) -> Option<FlightEntry<K, W, A>> {
        self.take(hash, |old| old.key == *key)
    }

    #[inline]
    pub(crate) fn insert(&mut self, entry: FlightEntry<K, W, A>) {
        // The key is in the shard once: `FlightTable::start` has found no flight under this lock, or has
        // called `take_closed`.
        if self.single.is_none() {
            self.single = Some(entry);
        } else {
            self.others.insert_unique(entry.hash, entry, |entry| entry.hash);
        }
    }
}

/// The maximum capacity that an empty shard keeps.
const ROOM: usize = 64;

/// The maximum number of idle flights of a shard.
const IDLE: usize = 4;
