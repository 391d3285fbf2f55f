mod admit;
mod cells;
mod grant;
mod law;
mod local_rate;
mod numbers;
mod observe;
mod refill;
mod slots;
mod supply;

use std::time::Duration;

use buttress_control::{LeaseRules, Rate, Ratio};
use buttress_state::{AnyQuotaStore, QuotaStore};

pub use self::cells::FleetCells;
pub use self::local_rate::LocalRate;
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
///
/// The bucket in the store is smaller than the burst by the cells that leases can hold. A call that
/// costs more than that bucket is rejected with `NeverAdmissible`, also if it costs less than the
/// burst. [`exact`](Self::exact) keeps the whole burst in the store.
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

    /// Sets the part of the burst that replicas may hold ahead. Default: 20 %. 0: each call asks the
    /// store.
    ///
    /// If the rate brings more than this part during a lease, the replicas divide the part. Otherwise
    /// each replica may hold all of it. Below 2 cells in a replica, each call asks the store. The
    /// bound is the same in all cases.
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

/// The numbers and the policy of a [`Fleet`]: all but its store.
///
/// [`ThrottleHandle::set_fleet_options`](crate::ThrottleHandle) changes them while calls run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetOptions {
    /// The most replicas that run at the same time. 0 counts as 1.
    pub replicas: u32,
    /// The part of the burst that replicas may hold ahead. More than 100 % count as
    /// 100 %. See [`Fleet::reserve`](Fleet::reserve).
    pub reserve: Ratio,
    /// The time for which a replica holds cells. More than an hour counts as an hour. See
    /// [`Fleet::lease`](Fleet::lease).
    pub lease: Duration,
    /// Whether each call asks the store, whatever the other numbers are. See
    /// [`Fleet::exact`](Fleet::exact).
    pub exact: bool,
    /// What happens to calls while the store is away.
    pub without_store: WithoutStore,
}

impl FleetOptions {
    fn new(replicas: u32) -> Self {
        Self {
            replicas: replicas.max(1),
            reserve: Ratio::percent(20),
            lease: Duration::from_millis(200),
            exact: false,
            without_store: WithoutStore::LocalShare,
        }
    }

    /// The options of these rules.
    fn of(rules: &LeaseRules, without_store: WithoutStore) -> Self {
        Self {
            replicas: rules.replicas(),
            reserve: rules.reserve_ratio(),
            lease: rules.lease_time(),
            exact: rules.is_always_exact(),
            without_store,
        }
    }

    /// The rules for these rates, with a store that replies within this time.
    fn rules(self, rates: impl IntoIterator<Item = Rate>, time_limit: Duration) -> LeaseRules {
        let rules = LeaseRules::new(rates, self.replicas)
            .reserve(self.reserve)
            .lease(self.lease)
            .time_limit(time_limit);
        if self.exact { rules.exact() } else { rules }
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
    /// Returns the name of the policy in events and in configurations, such as `local_share`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LocalShare => "local_share",
            Self::FailOpen => "fail_open",
            Self::FailClosed => "fail_closed",
        }
    }
}
