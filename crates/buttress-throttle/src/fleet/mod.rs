mod admit;
mod cells;
mod grant;
mod law;
mod local_rate;
mod numbers;
mod observe;
mod options;
mod payment;
mod refill;
mod slots;
mod supply;

use std::time::Duration;

use buttress_control::Ratio;
use buttress_state::{AnyQuotaStore, QuotaStore};

pub use self::cells::FleetCells;
pub use self::local_rate::LocalRate;
pub use self::numbers::FleetSnapshot;
pub use self::options::{FleetOptions, WithoutStore};

/// A store through which the replicas of a fleet keep a rate together: see
/// [`ThrottleLayer::fleet`](crate::ThrottleLayer::fleet).
///
/// Each replica leases cells ahead, so most calls are decided without the store. In any time `t`,
/// all replicas together admit at most `rate · t + burst` cells while the store lives, whatever is
/// late or lost. If more replicas run than `replicas`, the bound grows by what they hold.
///
/// A call that finds no cells waits for the store, for at most the store's
/// [time limit](QuotaStore::time_limit) and the caller's deadline. Then [`WithoutStore`] decides.
#[derive(Clone, Debug)]
#[doc(alias("distributed rate limit", "global rate limit", "redis"))]
pub struct Fleet {
    pub(crate) store: AnyQuotaStore,
    pub(crate) options: FleetOptions,
}

impl Fleet {
    /// Creates a fleet of at most `replicas` replicas that share `store`. 0 counts as 1.
    pub fn new(store: impl QuotaStore, replicas: u32) -> Self {
        Self { store: AnyQuotaStore::new(store), options: FleetOptions::new(replicas) }
    }

    /// Sets the part of the burst that all replicas together may hold ahead. Default: 20 %. 0: each
    /// call asks the store.
    pub fn reserve(mut self, reserve: Ratio) -> Self {
        self.options.reserve = reserve;
        self
    }

    /// Sets the time for which a replica holds cells. Default: 200 ms. Below 20 ms, each call asks
    /// the store.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease;
        self
    }

    /// Asks the store for each call. Calls that arrive during a request share the next one.
    pub fn exact(mut self) -> Self {
        self.options.exact = true;
        self
    }

    /// Sets what happens to calls while the store is away. Default:
    /// [`LocalShare`](WithoutStore::LocalShare).
    pub fn without_store(mut self, policy: WithoutStore) -> Self {
        self.options.without_store = policy;
        self
    }
}
