//! A replica's way to the store.

use std::{
    future::{Future, pending},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buttress_state::{Begun, Ending, Finished, FlightStore, Slot, StoreError, Token};
use buttress_testkit::FakeStore;
use tokio::time::{Instant, sleep_until};

/// The store as one replica sees it.
#[derive(Clone)]
pub(crate) struct Wire {
    store: FakeStore,
    is_cut: Arc<AtomicBool>,
    is_deaf: Arc<AtomicBool>,
}

impl Wire {
    pub(crate) fn new(store: &FakeStore) -> Self {
        Self { store: store.clone(), is_cut: Arc::default(), is_deaf: Arc::default() }
    }

    /// Loses all requests from now on, and their operations never end: as if the process had died.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    /// Delivers no message of the store from now on.
    pub(crate) fn deafen(&self) {
        self.is_deaf.store(true, Ordering::SeqCst);
    }

    async fn arrives(&self) {
        if self.is_cut.load(Ordering::SeqCst) {
            pending::<()>().await;
        }
    }
}

impl FlightStore for Wire {
    async fn begin(
        &self,
        slot: Slot<'_>,
        newer_than: Option<[u8; 16]>,
    ) -> Result<Begun, StoreError> {
        self.arrives().await;
        self.store.begin(slot, newer_than).await
    }

    async fn renew(&self, slot: Slot<'_>, token: &Token) -> Result<bool, StoreError> {
        self.arrives().await;
        self.store.renew(slot, token).await
    }

    async fn finish(
        &self,
        slot: Slot<'_>,
        token: &Token,
        ending: Ending,
    ) -> Result<Finished, StoreError> {
        self.arrives().await;
        self.store.finish(slot, token, ending).await
    }

    async fn invalidate(&self, group: &[u8]) -> Result<(), StoreError> {
        self.arrives().await;
        self.store.invalidate(group).await
    }

    async fn clear(&self) -> Result<(), StoreError> {
        self.arrives().await;
        self.store.clear().await
    }

    fn changed(&self, slot: Slot<'_>, until: Instant) -> impl Future<Output = ()> + Send {
        let changed = self.store.changed(slot, until);
        let is_deaf = self.is_deaf.load(Ordering::SeqCst);
        async move { if is_deaf { sleep_until(until).await } else { changed.await } }
    }
}

/// The delay of a trip to the store and back.
pub(crate) const TRIP: Duration = Duration::from_millis(2);
