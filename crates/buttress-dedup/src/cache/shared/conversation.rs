use std::{sync::Arc, time::Duration};

use buttress_state::{Begun, FlightStore, Token};
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::{lease::FlightLease, patience::Patience, place::Place, remote::Remote};
use crate::{CacheEntry, Fetched, cache::EntryFreshness};

/// A read of the fleet's store: looks for a value, waits for another process, or leads.
pub(super) struct Conversation<F, V> {
    pub(super) remote: Arc<Remote<F>>,
    pub(super) place: Arc<Place>,
    pub(super) aim: Aim,
    pub(super) spare: Option<Arc<CacheEntry<V>>>,
}

/// What a read is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Aim {
    /// An entry that may be served.
    Any,
    /// An entry that is fresh after this time. The entry at hand has this stamp.
    Newer { than: Instant, stamp: Option<[u8; 16]> },
}

impl<F: FlightStore, V> Conversation<F, V> {
    /// Waits for at most `max_wait` for other processes. `read` makes an entry of a value that the store
    /// keeps for the given time.
    pub(super) async fn run(
        mut self,
        read: impl Fn(&Bytes, Duration, [u8; 16]) -> Option<Arc<CacheEntry<V>>> + Send,
    ) -> Fetched<V, FlightLease<F>> {
        let remote = Arc::clone(&self.remote);
        let now = Instant::now();
        let end = now + remote.limits.max_wait();
        // Ends the wait for a store that hangs, against its contract. A trip has its time also if there is
        // none for other processes.
        let latest = end.max(now + TIME_OF_A_TRIP);
        let fetched = timeout_at(latest, self.talk(end, read)).await.unwrap_or(Fetched::Alone);
        if let (Fetched::Alone, Some(spare)) = (&fetched, self.spare.take()) {
            // The layer asks again, makes the call, and falls back on this entry.
            return Fetched::Hit(spare);
        }
        let count = match &fetched {
            Fetched::Hit(_) => &remote.counts.hits,
            Fetched::Lead { .. } => &remote.counts.leads,
            Fetched::Alone => &remote.counts.alone,
            Fetched::Busy(_) => return fetched,
        };
        count.add();
        fetched
    }

    async fn talk(
        &mut self,
        end: Instant,
        read: impl Fn(&Bytes, Duration, [u8; 16]) -> Option<Arc<CacheEntry<V>>> + Send,
    ) -> Fetched<V, FlightLease<F>> {
        self.remote.pay_in_background();
        if !self.remote.owed.is_settled(self.place.group()).await {
            return Fetched::Alone;
        }
        let (remote, place) = (Arc::clone(&self.remote), Arc::clone(&self.place));
        let mut newer_than = match self.aim {
            Aim::Any => None,
            Aim::Newer { stamp, .. } => stamp,
        };
        let mut patience = Patience::new(end);
        let mut refused = 0;
        loop {
            // Before `begin`, so that no change after its reply is missed.
            let changed = remote.store.changed(place.slot(), end);
            match remote.begin(place.slot(), newer_than).await {
                Ok(Begun::Hit { bytes, ttl, stamp, .. }) => {
                    if let Some(entry) = read(&bytes, ttl, stamp)
                        && let Some(entry) = self.accept(entry)
                    {
                        return Fetched::Hit(entry);
                    }
                    // Asks for another value, or for the lock to replace this one. The bound is for
                    // processes that cannot read each other's values.
                    refused += 1;
                    if refused > MOST_REFUSED {
                        return Fetched::Alone;
                    }
                    newer_than = Some(stamp);
                }
                Ok(Begun::Lead(token)) => return self.lead(token),
                Ok(Begun::Busy(left)) if matches!(self.aim, Aim::Newer { .. }) => {
                    return Fetched::Busy(left.clamp(SHORTEST_HOLD, LONGEST_HOLD));
                }
                Ok(Begun::Busy(left)) => {
                    if patience.is_first() {
                        remote.counts.waits.add();
                    }
                    if !patience.wait(left, changed).await {
                        return Fetched::Alone;
                    }
                }
                _ => return Fetched::Alone,
            }
        }
    }

    /// Returns the entry if it serves the aim. An entry for failures only becomes the spare.
    fn accept(&mut self, entry: Arc<CacheEntry<V>>) -> Option<Arc<CacheEntry<V>>> {
        let now = Instant::now();
        let is_newer = match self.aim {
            Aim::Any => true,
            Aim::Newer { than, .. } => now + entry.remaining(now) > than,
        };
        match entry.freshness(now) {
            EntryFreshness::Fresh if is_newer => Some(entry),
            EntryFreshness::Stale if matches!(self.aim, Aim::Any) => Some(entry),
            EntryFreshness::StaleIfError if matches!(self.aim, Aim::Any) => {
                self.spare = Some(entry);
                None
            }
            _ => None,
        }
    }

    fn lead(&mut self, token: Token) -> Fetched<V, FlightLease<F>> {
        let (remote, place) = (Arc::clone(&self.remote), Arc::clone(&self.place));
        Fetched::lead(FlightLease::new(remote, place, token), self.spare.take())
    }
}

/// How many values a read refuses before it goes alone.
const MOST_REFUSED: usize = 3;
/// The least time for a trip to the store.
const TIME_OF_A_TRIP: Duration = Duration::from_secs(1);
/// The bounds of the time that a refresh waits for the refresh of another process.
const SHORTEST_HOLD: Duration = Duration::from_millis(10);
const LONGEST_HOLD: Duration = Duration::from_secs(60);
