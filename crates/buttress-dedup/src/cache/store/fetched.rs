use std::{fmt, sync::Arc, time::Duration};

use crate::CacheEntry;

/// Why a layer asks a store. See [`Store::fetch`](crate::Store::fetch).
#[derive(Debug)]
#[non_exhaustive]
pub enum Intent<'a, V> {
    /// There is no entry at hand that may be served.
    Miss,
    /// This entry is to be renewed in the background. Callers have its value already.
    Refresh(&'a CacheEntry<V>),
}

/// The answer of a store. `V` is the cached outcome, and `L` the [lease](crate::Store::Lease).
#[non_exhaustive]
pub enum Fetched<V, L> {
    /// The store has an entry. The layer decides whether the entry may be served.
    Hit(Arc<CacheEntry<V>>),
    /// The layer makes the call, and the store expects the result.
    #[non_exhaustive]
    Lead {
        /// Passed to [`Store::insert`](crate::Store::insert) together with the result. Dropped if there is
        /// no result to store.
        lease: L,
        /// A stale entry that the layer may serve in place of a failure.
        spare: Option<Arc<CacheEntry<V>>>,
    },
    /// Another process renews the entry, and is done after this time at the latest. The layer makes no call.
    /// Only for [`Intent::Refresh`]: for [`Intent::Miss`] this counts as [`Alone`](Self::Alone).
    Busy(Duration),
    /// The layer makes the call, and nobody else waits for the result. The result is inserted without a
    /// lease.
    Alone,
}

impl<V, L> Fetched<V, L> {
    /// Returns a [`Lead`](Self::Lead) of these parts.
    pub const fn lead(lease: L, spare: Option<Arc<CacheEntry<V>>>) -> Self {
        Self::Lead { lease, spare }
    }
}

impl<V, L> fmt::Debug for Fetched<V, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit(_) => f.write_str("Hit"),
            Self::Lead { spare, .. } => {
                f.debug_struct("Lead").field("has_spare", &spare.is_some()).finish_non_exhaustive()
            }
            Self::Busy(time) => f.debug_tuple("Busy").field(time).finish(),
            Self::Alone => f.write_str("Alone"),
        }
    }
}
