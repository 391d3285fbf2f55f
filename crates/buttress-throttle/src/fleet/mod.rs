mod admit;
mod cells;
mod grant;
mod law;
mod numbers;
mod refill;
mod slots;
mod supply;

use std::time::Duration;

use buttress_control::Ratio;
use buttress_state::{AnyQuotaStore, QuotaStore};

pub use self::cells::FleetCells;
pub use self::numbers::FleetSnapshot;

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
    pub(crate) replicas: u32,
    pub(crate) reserve: Ratio,
    pub(crate) lease: Duration,
    pub(crate) is_exact: bool,
    pub(crate) without_store: WithoutStore,
}

impl Fleet {
    /// Creates a fleet of at most `replicas` replicas that share `store`. 0 counts as 1.
    pub fn new(store: impl QuotaStore, replicas: u32) -> Self {
        Self {
            store: AnyQuotaStore::new(store),
            replicas: replicas.max(1),
            reserve: Ratio::percent(20),
            lease: Duration::from_millis(200),
            is_exact: false,
            without_store: WithoutStore::LocalShare,
        }
    }

    /// Sets the part of the burst that all replicas together may hold ahead. Default: 20 %. 0: each
    /// call asks the store.
    pub fn reserve(self, reserve: Ratio) -> Self {
        Self { reserve, ..self }
    }

    /// Sets the time for which a replica holds cells. Default: 200 ms. Below 20 ms, each call asks
    /// the store.
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Asks the store for each call. Calls that arrive during a request share the next one.
    pub fn exact(self) -> Self {
        Self { is_exact: true, ..self }
    }

    /// Sets what happens to calls while the store is away. Default:
    /// [`LocalShare`](WithoutStore::LocalShare).
    pub fn without_store(self, policy: WithoutStore) -> Self {
        Self { without_store: policy, ..self }
    }
}

/// What happens to the calls of a [`Fleet`] while the store is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WithoutStore {
    /// Each replica admits its part of the rate, and tells the store when it is back.
    ///
    /// The part is the rate divided by the number of replicas. With queue, calls wait for it. A call
    /// that costs more than the part of the burst is rejected.
    #[default]
    LocalShare,
    /// All calls are admitted. The store is told when it is back.
    FailOpen,
    /// All calls are rejected as overload, once the cells that are held have been spent. For logins,
    /// one-time codes and spending limits.
    FailClosed,
}

impl WithoutStore {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::LocalShare => "local_share",
            Self::FailOpen => "fail_open",
            Self::FailClosed => "fail_closed",
        }
    }
}
