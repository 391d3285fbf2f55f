use std::{hash::Hash, sync::Arc};

use buttress_core::{Ambient, Join};
use buttress_state::sync::MutexGuard;

use super::{
    Flight, FlightStart, FlightTable, SharedResult,
    shard::{FlightEntry, FlightShard, Joined, Lookup},
};
use crate::cache::ValidFlag;

/// How a call finds the flight of its key.
impl<K, W, A> FlightTable<K, W, A>
where
    K: Hash + Eq + Send + Sync + 'static,
    W: Send + 'static,
    A: SharedResult + Send + Sync + 'static,
{
    /// Joins the flight of `key`, if any.
    pub(crate) fn join(&self, key: &K, start: &FlightStart) -> Option<Joined<K, W, A>> {
        // Without this look, each follower would make a plan and ask the store for a read in
        // `KeyedCall::lead`. `start` looks again, because a flight may begin after this lock is released.
        let FlightStart { hash, ambient, resource_generation, .. } = *start;
        let lookup = self.lock_shard(hash)?.join(hash, key, ambient, resource_generation);
        match lookup {
            Lookup::Joined(joined) => Some(joined),
            Lookup::Answered => self.look_again(key, start).ok(),
            Lookup::Closed | Lookup::Nothing => None,
        }
    }

    /// Joins a flight that has a result. Gives the flight back if it accepts no more callers.
    ///
    /// With no lock of a shard held, because the mode of the user is asked. The flight may leave the table
    /// meanwhile, as it may right after any join.
    #[cold]
    fn join_answered(
        &self,
        hash: u64,
        flight: Arc<Flight<K, W, A>>,
        ambient: Ambient,
    ) -> JoinedAnswered<K, W, A> {
        let Some(result) = flight.result() else { return Err(flight) };
        match flight.join_answered(result, ambient) {
            Join::Member(member) => {
                if let Some(mut shard) = self.lock_shard(hash) {
                    shard.followers += 1;
                }
                Ok(Joined::Follower(flight, member))
            }
            Join::Reentrant => Ok(Joined::Reentrant),
            Join::Closed => Err(flight),
        }
    }

    /// Counts a call that would join the flight of `key`, if that flight accepts callers.
    #[cold]
    #[inline(never)]
    pub(crate) fn observe_join(&self, key: &K, start: &FlightStart) -> bool {
        let is_joinable = self.is_joinable(key, start);
        if is_joinable && let Some(mut shard) = self.lock_shard(start.hash) {
            shard.followers += 1;
        }
        is_joinable
    }

    /// Whether a call would join the flight of `key`.
    #[cold]
    pub(crate) fn is_joinable(&self, key: &K, start: &FlightStart) -> bool {
        let find = |shard: MutexGuard<'_, FlightShard<K, W, A>>| {
            shard.find(start.hash, key).map(|entry| Arc::clone(&entry.flight))
        };
        // Asked after the lock, because the mode of the user is asked for the progress of a response.
        let flight = self.lock_shard(start.hash).and_then(find);
        flight.is_some_and(|flight| flight.accepts_callers(start.resource_generation))
    }

    /// Joins the flight of `key`, or starts a new flight with `work`. Gives the key back if the `generation` has changed
    /// since the lookup.
    ///
    /// `work` is called with whether the new flight replaces a flight in which the deadline of a member has
    /// passed.
    #[inline]
    pub(crate) fn start(
        self: &Arc<Self>,
        key: K,
        start: FlightStart,
        valid: Option<ValidFlag>,
        generation: Option<u64>,
        work: impl FnOnce(bool) -> W,
    ) -> Result<Joined<K, W, A>, K> {
        let FlightStart { hash, ambient, resource_generation, .. } = start;
        let Some(mut shard) = self.lock_shard(hash) else { return Ok(Joined::Reentrant) };
        let free = match shard.join(hash, &key, ambient, resource_generation) {
            Lookup::Nothing => FreePlace { closed: None, replaces: false, shard },
            Lookup::Joined(joined) => {
                // The lock first: this return drops `key` and the plan in `work`, which runs code of the user.
                drop(shard);
                return Ok(joined);
            }
            Lookup::Closed => FreePlace { closed: None, replaces: true, shard },
            Lookup::Answered => {
                drop(shard);
                match self.look_again(&key, &start) {
                    Ok(joined) => return Ok(joined),
                    Err(free) => free,
                }
            }
        };
        let FreePlace { closed, replaces, mut shard } = free;
        // Compared under the lock: the generation is bumped before a flight is removed. So if the flight is not
        // here any more, its generation is visible.
        if generation.is_some_and(|generation| self.generation() != generation) {
            drop(shard);
            return Err(key);
        }
        let old = if replaces { shard.take_closed(hash, &key) } else { None };
        let older =
            if A::CACHES { old.as_ref().and_then(|old| old.flight.replace()) } else { None };
        // From here to the end of the lock no code of the user runs: `work` only moves values, see
        // `KeyedCall::lead`. `old` and `idle` may run such code when dropped.
        let mut idle = shard.pop_idle();
        let is_needed = old.as_ref().is_some_and(|old| old.flight.is_spent());
        let (flight, member) =
            Flight::begin(start, (valid, older), || work(is_needed), &mut idle, self);
        let entry = FlightEntry { key, hash, flight: Arc::clone(&flight) };
        shard.leaders += 1;
        shard.insert(entry);
        drop(shard);
        drop(old);
        drop(idle);
        drop(closed);
        Ok(Joined::Leader(flight, member))
    }

    /// Joins a flight that has a result, or finds out that it is closed. Out of line, to keep the other calls fast.
    #[cold]
    #[inline(never)]
    fn look_again(
        &self,
        key: &K,
        start: &FlightStart,
    ) -> Result<Joined<K, W, A>, FreePlace<'_, K, W, A>> {
        let FlightStart { hash, ambient, resource_generation, .. } = *start;
        // Declared before the lock, so dropped after the lock.
        let mut closed: Option<Arc<_>> = None;
        loop {
            let Some(mut shard) = self.lock_shard(hash) else { return Ok(Joined::Reentrant) };
            match shard.join(hash, key, ambient, resource_generation) {
                Lookup::Nothing => return Err(FreePlace { closed, replaces: false, shard }),
                Lookup::Closed => return Err(FreePlace { closed, replaces: true, shard }),
                Lookup::Joined(joined) => {
                    drop(shard);
                    return Ok(joined);
                }
                Lookup::Answered => {}
            }
            let Some(entry) = shard.find(hash, key) else { continue };
            if closed.as_deref().is_some_and(|closed| entry.is_of(closed)) {
                return Err(FreePlace { closed, replaces: true, shard });
            }
            let flight = Arc::clone(&entry.flight);
            drop(shard);
            match self.join_answered(hash, flight, ambient) {
                Ok(joined) => return Ok(joined),
                // Another flight may be in the table by now.
                Err(flight) => closed = Some(flight),
            }
        }
    }
}

/// The place of a key in its locked shard, for a new flight.
struct FreePlace<'a, K, W, A> {
    /// A flight that the call could not join. Dropped after the lock.
    closed: Option<Arc<Flight<K, W, A>>>,
    /// The new flight replaces a closed flight of the key.
    replaces: bool,
    shard: MutexGuard<'a, FlightShard<K, W, A>>,
}

/// A call that has joined, or the flight that accepts no more callers.
type JoinedAnswered<K, W, A> = Result<Joined<K, W, A>, Arc<Flight<K, W, A>>>;
