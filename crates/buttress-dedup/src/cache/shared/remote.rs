use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_state::{Begun, Ending, Finished, FlightStore, Slot, StoreError, Token};
use tokio::time::Instant;

use super::{outage::Outage, owed::Owed};
use crate::StoreCounts;

/// The fleet's store, with what this process knows about it.
#[derive(Debug)]
pub(super) struct Remote<F> {
    pub(super) store: F,
    /// The name of the layer.
    pub(super) instance: Box<str>,
    pub(super) limits: Arc<Limits>,
    pub(super) owed: Owed,
    pub(super) counts: Counts,
    outage: Outage,
}

/// The options that can change while the layer runs.
#[derive(Debug)]
pub(super) struct Limits {
    local_ttl: AtomicU64,
    max_wait: AtomicU64,
}

impl Limits {
    pub(super) fn new(local_ttl: Duration, max_wait: Duration) -> Self {
        let limits = Self { local_ttl: AtomicU64::new(0), max_wait: AtomicU64::new(0) };
        limits.set_local_ttl(local_ttl);
        limits.set_max_wait(max_wait);
        limits
    }

    // Relaxed everywhere: each number stands for itself.

    #[inline]
    pub(super) fn local_ttl(&self) -> Duration {
        Duration::from_nanos(self.local_ttl.load(Ordering::Relaxed))
    }

    pub(super) fn max_wait(&self) -> Duration {
        Duration::from_nanos(self.max_wait.load(Ordering::Relaxed))
    }

    pub(super) fn set_local_ttl(&self, ttl: Duration) {
        self.local_ttl.store(bounded(ttl), Ordering::Relaxed);
    }

    pub(super) fn set_max_wait(&self, wait: Duration) {
        self.max_wait.store(bounded(wait), Ordering::Relaxed);
    }
}

/// Nanoseconds, at most thirty years.
fn bounded(time: Duration) -> u64 {
    u64::try_from(time.min(buttress_core::Deadline::NEVER).as_nanos()).unwrap_or(u64::MAX)
}

impl<F: FlightStore> Remote<F> {
    pub(super) fn new(store: F, instance: &str, limits: Arc<Limits>) -> Self {
        Self {
            store,
            instance: instance.into(),
            limits,
            owed: Owed::default(),
            counts: Counts::default(),
            outage: Outage::default(),
        }
    }

    pub(super) async fn begin(
        &self,
        slot: Slot<'_>,
        newer_than: Option<[u8; 16]>,
    ) -> Result<Begun, StoreError> {
        self.watched(self.store.begin(slot, newer_than)).await
    }

    pub(super) async fn finish(
        &self,
        slot: Slot<'_>,
        token: &Token,
        ending: Ending,
    ) -> Result<Finished, StoreError> {
        self.watched(self.store.finish(slot, token, ending)).await
    }

    /// Invalidates a group, or all groups for `None`.
    pub(super) async fn invalidate(&self, group: Option<&[u8]>) -> Result<(), StoreError> {
        match group {
            Some(group) => self.watched(self.store.invalidate(group)).await,
            None => self.watched(self.store.clear()).await,
        }
    }

    /// Counts a failure, and notes whether the store is away.
    async fn watched<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let outcome = operation.await;
        match &outcome {
            Ok(_) => self.outage.succeeded(&self.instance, began),
            Err(error) => {
                self.counts.errors.add();
                self.outage.failed(&self.instance, error);
            }
        }
        outcome
    }
}

/// See [`StoreCounts`].
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) hits: Counter,
    pub(super) leads: Counter,
    pub(super) waits: Counter,
    pub(super) alone: Counter,
    pub(super) superseded: Counter,
    errors: Counter,
}

impl Counts {
    pub(super) fn snapshot(&self) -> StoreCounts {
        StoreCounts {
            hits: self.hits.get(),
            leads: self.leads.get(),
            waits: self.waits.get(),
            alone: self.alone.get(),
            superseded: self.superseded.get(),
            errors: self.errors.get(),
        }
    }
}

/// A counter of events that each cost a trip to the store. So it needs no cache line of its own.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        // Relaxed: no other memory is published with a counter.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
