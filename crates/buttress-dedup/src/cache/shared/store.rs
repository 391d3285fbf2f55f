use std::{
    hash::Hash,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use buttress_core::{Codec, StoreKey};
use buttress_state::{Ending, FlightStore};
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    conversation::{Aim, Conversation},
    encoding::{Head, Label},
    fetch::SharedFetch,
    lease::FlightLease,
    place::{self, Place},
    remote::Remote,
};
use crate::{CacheEntry, CachedOutcome, Intent, Store, StoreCounts, cache::store::MemoryStore};

/// The store of a [`SharedCache`](crate::SharedCache): process memory in front, the fleet's store
/// behind.
pub struct SharedStore<K, R, E, F, C> {
    memory: MemoryStore<K, CachedOutcome<R, E>>,
    remote: Arc<Remote<F>>,
    codec: C,
    stores_credentials: bool,
}

impl<K, R, E, F, C> SharedStore<K, R, E, F, C>
where
    K: StoreKey,
    F: FlightStore,
    C: Codec<R>,
{
    pub(super) const fn new(
        memory: MemoryStore<K, CachedOutcome<R, E>>,
        remote: Arc<Remote<F>>,
        codec: C,
        stores_credentials: bool,
    ) -> Self {
        Self { memory, remote, codec, stores_credentials }
    }

    /// Whether the entry of `key` stays in this process, and the store never hears of it.
    fn is_private(&self, key: &K) -> bool {
        !self.stores_credentials && key.holds_credentials()
    }

    fn conversation(
        &self,
        key: &K,
        resource: Option<u64>,
        aim: Aim,
    ) -> Conversation<F, CachedOutcome<R, E>> {
        let place = Place::new(&self.remote.instance, key, resource);
        Conversation { remote: Arc::clone(&self.remote), place: Arc::new(place), aim, spare: None }
    }

    /// What a leader leaves in the store.
    fn ending(&self, place: &Place, entry: &CacheEntry<CachedOutcome<R, E>>) -> Ending {
        // An error is for this process only.
        let CachedOutcome::Response(response) = entry.value() else { return Ending::Abandon };
        let head = Head::new(entry.lifetime(), entry.took());
        if head.ttl().is_zero() {
            return Ending::Abandon;
        }
        // A panic of a codec costs only the copy in the store.
        let write = |out: &mut Vec<u8>, left: usize| {
            let encode = || self.codec.encode(response, out, left);
            catch_unwind(AssertUnwindSafe(encode)).unwrap_or(false)
        };
        match head.encode(label::<R, C>(place), self.remote.limits.max_value(), write) {
            Some(bytes) => Ending::value(bytes.into(), head.ttl()),
            None => Ending::Unshared,
        }
    }
}

impl<K, R, E, F, C> Store<K, CachedOutcome<R, E>> for SharedStore<K, R, E, F, C>
where
    K: StoreKey + Hash + Eq + Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
    E: Send + Sync + 'static,
    F: FlightStore,
    C: Codec<R>,
{
    type Lease = FlightLease<F>;
    type Fetch = SharedFetch<CachedOutcome<R, E>, F>;

    const IS_COORDINATED: bool = true;

    #[inline]
    fn get(&self, key: &K) -> Option<Arc<CacheEntry<CachedOutcome<R, E>>>> {
        self.memory.get(key)
    }

    /// Entries with a stamp are copies of the fleet's, and this process must hear of its changes.
    #[inline]
    fn holds(&self, entry: &CacheEntry<CachedOutcome<R, E>>, now: Instant) -> bool {
        entry.is_told_within(self.remote.limits.local_ttl_nanos(), now).unwrap_or(true)
    }

    fn fetch(
        &self,
        key: &K,
        resource: Option<u64>,
        intent: Intent<'_, CachedOutcome<R, E>>,
    ) -> Option<Self::Fetch> {
        if self.is_private(key) {
            return None;
        }
        let aim = match intent {
            Intent::Refresh(entry) => {
                let now = Instant::now();
                Aim::Newer { than: now + entry.remaining(now), stamp: entry.stamp() }
            }
            Intent::Miss => Aim::Any,
        };
        let conversation = self.conversation(key, resource, aim);
        let (codec, remote) = (self.codec.clone(), Arc::clone(&self.remote));
        let label = label::<R, C>(&conversation.place);
        let (store, at_hand) = (Arc::clone(&remote), self.memory.get(key));
        let talk = conversation.run(move |bytes, ttl, stamp| {
            // The same entry again goes on with its refreshes, and with their backoff.
            if let Some(entry) = at_hand.as_ref().filter(|entry| entry.stamp() == Some(stamp))
                && entry.is_valid()
            {
                entry.be_told();
                return Some(Arc::clone(entry));
            }
            match read(&codec, label, bytes, ttl) {
                Ok(mut entry) => {
                    entry.set_stamp(stamp);
                    Some(Arc::new(entry))
                }
                Err(reason) => {
                    let instance = &*store.instance;
                    tracing::debug!(name: "dedup.entry_rejected", target: "buttress", instance, reason);
                    None
                }
            }
        });
        Some(SharedFetch::new(remote, talk))
    }

    fn keep(&self, key: &K, entry: &Arc<CacheEntry<CachedOutcome<R, E>>>) {
        // Also without a `local_ttl`: the entry has the state of its refreshes.
        self.memory.insert(key.clone(), Arc::clone(entry), None);
    }

    fn insert(
        &self,
        key: K,
        mut entry: Arc<CacheEntry<CachedOutcome<R, E>>>,
        lease: Option<FlightLease<F>>,
    ) {
        if self.is_private(&key) {
            return self.memory.insert(key, entry, None);
        }
        let ending = lease.as_ref().map(|lease| self.ending(lease.place(), &entry));
        // Without a lease, no value of the store has the stamp.
        let stamp = lease.as_ref().map_or([0; 16], FlightLease::stamp);
        // Memory takes no entry without a stamp, because nothing would end its stay. The layer has made
        // the entry for this call, so there is no other reference.
        if let Some(alone) = Arc::get_mut(&mut entry) {
            alone.set_stamp(stamp);
            self.keep(&key, &entry);
        }
        if let (Some(lease), Some(ending)) = (lease, ending) {
            lease.finish(ending);
        }
    }

    fn decline(&self, _: &K, _: Option<u64>, lease: FlightLease<F>) {
        lease.finish(Ending::Unshared);
    }

    fn remove(&self, key: &K, resource: Option<u64>) {
        // First, so that no read that begins after the removal from memory brings the older value back.
        if !self.is_private(key) {
            self.remote.owe(Some(place::group(&self.remote.instance, key, resource)));
        }
        self.memory.remove(key, resource);
    }

    fn invalidate_resource(&self, resource: u64) {
        self.remote.owe(Some(place::resource_group(&self.remote.instance, resource)));
    }

    fn clear(&self) {
        // In the order of `remove`, for the same reason.
        self.remote.owe(None);
        self.memory.clear();
    }

    fn size(&self) -> (usize, u64) {
        self.memory.size()
    }

    fn counts(&self) -> Option<StoreCounts> {
        Some(self.remote.counts.snapshot())
    }
}

fn label<R, C: Codec<R>>(place: &Place) -> Label {
    Label { codec: C::ID, key: place.key_hash() }
}

/// Makes an entry of a value that the store keeps for `ttl`, or tells why it is none.
fn read<R, E, C: Codec<R>>(
    codec: &C,
    label: Label,
    bytes: &Bytes,
    ttl: Duration,
) -> Result<CacheEntry<CachedOutcome<R, E>>, &'static str> {
    let (head, payload) = Head::decode(bytes, label)?;
    // A codec must not panic. If it does, a value that anyone can store would fail each call.
    let decoded = catch_unwind(AssertUnwindSafe(|| codec.decode(payload)));
    let response = decoded.ok().flatten().ok_or("payload")?;
    let weight = bytes.len().saturating_add(size_of::<R>());
    let entry =
        CacheEntry::new(CachedOutcome::Response(response), head.lifetime, head.took, weight);
    // The store's clock says how long ago the value was stored.
    Ok(entry.aged(head.ttl().saturating_sub(ttl)))
}
