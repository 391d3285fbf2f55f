use std::{
    panic::catch_unwind,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_state::{
    Begun, Ending, Finished, FlightStore, Slot, StoreError, StoreErrorKind, Token,
};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};

use super::{outage::Outage, owed::Owed};
use crate::{StoreCounts, cache::shared_handle::Limits};

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
        self.watched(bounded(self.store.finish(slot, token, ending))).await
    }

    /// Invalidates a group, or all groups for `None`.
    pub(super) async fn invalidate(&self, group: Option<&[u8]>) -> Result<(), StoreError> {
        match group {
            Some(group) => self.watched(bounded(self.store.invalidate(group))).await,
            None => self.watched(bounded(self.store.clear())).await,
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

/// Ends an operation of a store that hangs, against its contract: a task must not wait for ever.
async fn bounded<T>(
    operation: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let outcome = timeout(LONGEST_OPERATION, operation).await;
    outcome.unwrap_or_else(|_| Err(StoreErrorKind::Timeout.into()))
}

/// The current runtime, if it has a time driver.
pub(super) fn runtime() -> Option<Handle> {
    let runtime = Handle::try_current().ok()?;
    // tokio does not tell, but its timers panic without a driver.
    catch_unwind(|| drop(sleep(Duration::ZERO))).is_ok().then_some(runtime)
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

const LONGEST_OPERATION: Duration = Duration::from_secs(30);
