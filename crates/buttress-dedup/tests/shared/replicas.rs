//! Replicas with a layer each, over one source and one store.

use buttress_core::{ByMode, Codec, Plain};
use buttress_dedup::{Cache, DedupHandle, DedupLayer, DedupSnapshot, SharedCache};
use buttress_testkit::{FakeStore, TestError};
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::{task::JoinHandle, time::Duration};
use tower::ServiceExt;

use crate::{
    source::{Bare, Source, exactly, s},
    wire::{TRIP, Wire},
};

/// Writes a number as four bytes. `VERSION` is the format.
#[derive(Clone)]
pub(crate) struct Numbers<const VERSION: u32 = 1>;

impl<const VERSION: u32> Codec<u32> for Numbers<VERSION> {
    const ID: u32 = VERSION;

    fn encode(&self, value: &u32, out: &mut Vec<u8>, max: usize) -> bool {
        out.extend_from_slice(&value.to_be_bytes());
        max >= 4
    }

    fn decode(&self, bytes: Bytes) -> Option<u32> {
        Some(u32::from_be_bytes(bytes.as_ref().try_into().ok()?))
    }
}

pub(crate) type Shared<C = Numbers> = SharedCache<Wire, C>;

/// Replicas of a service, whose calls all reach one source.
pub(crate) struct Fleet {
    pub(crate) store: FakeStore,
    pub(crate) source: Source,
    pub(crate) replicas: Vec<Replica>,
}

#[derive(Clone)]
pub(crate) struct Replica {
    pub(crate) wire: Wire,
    pub(crate) handle: DedupHandle,
    pub(crate) service: Bare,
}

impl Fleet {
    /// Creates replicas that keep entries for 60 s, over a source that takes 50 ms.
    pub(crate) fn new(replicas: usize) -> Self {
        Self::with(replicas, &exactly(s(60)), |shared| shared)
    }

    /// Creates replicas with these options.
    pub(crate) fn with(replicas: usize, cache: &Cache, options: impl Fn(Shared) -> Shared) -> Self {
        let store = FakeStore::new();
        store.set_delay(TRIP);
        let mut fleet = Self { store, source: Source::new(), replicas: Vec::new() };
        for _ in 0..replicas {
            fleet.join(cache, Numbers, &options);
        }
        fleet
    }

    /// Adds a replica with a codec of its own.
    pub(crate) fn join<C: Codec<u32>>(
        &mut self,
        cache: &Cache,
        codec: C,
        options: impl Fn(Shared<C>) -> Shared<C>,
    ) {
        let wire = Wire::new(&self.store);
        let shared = options(SharedCache::new(wire.clone(), codec));
        let layer: DedupLayer<Plain, ByMode, _> =
            DedupLayer::new().cache(cache.clone().store(shared)).named("users");
        let (handle, service) = (layer.handle(), self.source.under(&layer));
        self.replicas.push(Replica { wire, handle, service });
    }

    pub(crate) fn replica(&self, number: usize) -> &Replica {
        &self.replicas[number]
    }

    /// Makes `callers` concurrent calls on each replica.
    pub(crate) async fn get_together(&self, callers: usize, key: u32) -> Vec<Outcome> {
        let calls = self.replicas.iter().map(|replica| replica.get_together(callers, key));
        join_all(calls).await.into_iter().flatten().collect()
    }

    /// Returns a number of all replicas, added up.
    pub(crate) fn sum(&self, number: impl Fn(&DedupSnapshot) -> u64) -> u64 {
        self.replicas.iter().map(|replica| number(&replica.handle.snapshot())).sum()
    }
}

impl Replica {
    pub(crate) async fn get(&self, key: u32) -> Outcome {
        self.service.clone().oneshot(key).await
    }

    pub(crate) async fn get_together(&self, callers: usize, key: u32) -> Vec<Outcome> {
        join_all((0..callers).map(|_| self.get(key))).await
    }

    /// Calls in a task of its own.
    pub(crate) fn spawn(&self, key: u32) -> JoinHandle<Outcome> {
        tokio::spawn(self.service.clone().oneshot(key))
    }
}

pub(crate) type Outcome = Result<u32, TestError>;

/// Waits until the tasks of the layers have done what they can at once.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}
