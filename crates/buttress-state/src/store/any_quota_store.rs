use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use super::{Ask, Grant, QuotaStore, StoreError, StoreSnapshot};

/// Any [`QuotaStore`], without its type. Clones share the store.
#[derive(Clone)]
pub struct AnyQuotaStore(Arc<dyn DynQuotaStore>);

impl AnyQuotaStore {
    /// Creates a handle of `store`.
    pub fn new(store: impl QuotaStore) -> Self {
        Self(Arc::new(store))
    }
}

impl QuotaStore for AnyQuotaStore {
    async fn acquire(&self, ask: Ask<'_>) -> Result<Grant, StoreError> {
        self.0.acquire_boxed(ask).await
    }

    fn snapshot(&self) -> StoreSnapshot {
        self.0.snapshot()
    }

    fn time_limit(&self) -> Duration {
        self.0.time_limit()
    }
}

impl fmt::Debug for AnyQuotaStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyQuotaStore").field(&QuotaStore::snapshot(self)).finish()
    }
}

/// [`QuotaStore`] as an object: the future is boxed.
trait DynQuotaStore: Send + Sync {
    fn acquire_boxed<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Result<Grant, StoreError>>;
    fn snapshot(&self) -> StoreSnapshot;
    fn time_limit(&self) -> Duration;
}

impl<T: QuotaStore> DynQuotaStore for T {
    fn acquire_boxed<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Result<Grant, StoreError>> {
        Box::pin(self.acquire(ask))
    }

    fn snapshot(&self) -> StoreSnapshot {
        QuotaStore::snapshot(self)
    }

    fn time_limit(&self) -> Duration {
        QuotaStore::time_limit(self)
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
