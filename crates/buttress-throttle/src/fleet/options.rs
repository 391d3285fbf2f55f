use std::time::Duration;

use buttress_control::{LeaseRules, Rate, Ratio};

/// The numbers and the policy of a [`Fleet`](super::Fleet): all but its store.
///
/// [`ThrottleHandle::set_fleet_options`](crate::ThrottleHandle) changes them while calls run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetOptions {
    /// The most replicas that run at the same time. 0 counts as 1.
    pub replicas: u32,
    /// The part of the burst that all replicas together may hold ahead. More than 100 % count as
    /// 100 %. See [`Fleet::reserve`](super::Fleet::reserve).
    pub reserve: Ratio,
    /// The time for which a replica holds cells. More than an hour counts as an hour. See
    /// [`Fleet::lease`](super::Fleet::lease).
    pub lease: Duration,
    /// Whether each call asks the store, whatever the other numbers are. See
    /// [`Fleet::exact`](super::Fleet::exact).
    pub exact: bool,
    /// What happens to calls while the store is away.
    pub without_store: WithoutStore,
}

impl FleetOptions {
    pub(super) fn new(replicas: u32) -> Self {
        Self {
            replicas: replicas.max(1),
            reserve: Ratio::percent(20),
            lease: Duration::from_millis(200),
            exact: false,
            without_store: WithoutStore::LocalShare,
        }
    }

    /// The options of these rules.
    pub(super) fn of(rules: &LeaseRules, without_store: WithoutStore) -> Self {
        Self {
            replicas: rules.replicas(),
            reserve: rules.reserve_ratio(),
            lease: rules.lease_time(),
            exact: rules.is_always_exact(),
            without_store,
        }
    }

    /// The rules for these rates, with a store that replies within this time.
    pub(super) fn rules(
        self,
        rates: impl IntoIterator<Item = Rate>,
        time_limit: Duration,
    ) -> LeaseRules {
        let rules = LeaseRules::new(rates, self.replicas)
            .reserve(self.reserve)
            .lease(self.lease)
            .time_limit(time_limit);
        if self.exact { rules.exact() } else { rules }
    }
}

/// What happens to the calls of a [`Fleet`](super::Fleet) while the store is away.
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
