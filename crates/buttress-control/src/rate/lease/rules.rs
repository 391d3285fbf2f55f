use std::time::Duration;

use crate::numbers::nanos::saturating_nanos;
use crate::{Rate, Ratio};

/// How replicas share rates by leases: which part of a burst they hold ahead, and for how long.
///
/// ```
/// use std::time::Duration;
/// use buttress_control::{LeaseKind, LeaseRules, Rate};
///
/// let rules = LeaseRules::new([Rate::per_second(1000)], 12);
/// assert_eq!(rules.kind(), LeaseKind::Leased);
/// assert_eq!(rules.max_held(), 200); // 20 % of the burst
/// assert_eq!(rules.rates()[0].burst(), 800); // the rest is in the store
/// ```
///
/// # The bound
///
/// A cell is spent within the [lease](Self::lease) after its grant, and a replica holds at most
/// [`max_held`](Self::max_held) cells. So in any time `t` all replicas spend at most `rate · t +
/// burst` cells, if the store grants by the [burst](LeasedRate::burst) of these rules.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseRules {
    asked: Box<[Rate]>,
    replicas: u32,
    reserve: Ratio,
    lease: Duration,
    time_limit: Duration,
    is_exact: bool,
    kind: LeaseKind,
    rates: Box<[LeasedRate]>,
    max_held: u32,
    max_cost: u32,
}

/// How the cells of a [`LeaseRules`] come to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaseKind {
    /// A rate has a count of 0: all calls are refused, and the store is not asked.
    Refuse,
    /// All rates have a period of 0: all calls are admitted, and the store is not asked.
    Admit,
    /// Each call asks the store. Calls that arrive during a trip share the next trip.
    Exact,
    /// Replicas hold cells ahead.
    Leased,
}

/// A rate as the store grants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasedRate {
    rate: Rate,
    burst: u32,
    /// In nanoseconds. Kept, because a division finds it.
    interval: u64,
}

impl LeasedRate {
    /// Returns the rate that all replicas keep together.
    pub const fn rate(self) -> Rate {
        self.rate
    }

    /// Returns the burst of the store: the burst of the rate without the cells that replicas hold.
    pub const fn burst(self) -> u32 {
        self.burst
    }

    /// Returns the time between two cells. Never zero.
    pub const fn interval(self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    /// The time in which this many cells come, in nanoseconds.
    pub(crate) fn span(self, cells: u64) -> u64 {
        self.interval.saturating_mul(cells)
    }
}

impl LeaseRules {
    /// Creates the rules for at most `replicas` replicas, with a reserve of 20 %, a lease of 200 ms
    /// and a time limit of 25 ms. 0 replicas count as 1. Without a rate, all calls are admitted.
    pub fn new(rates: impl IntoIterator<Item = Rate>, replicas: u32) -> Self {
        let rules = Self {
            asked: rates.into_iter().collect(),
            replicas: replicas.max(1),
            reserve: Ratio::percent(20),
            lease: Duration::from_millis(200),
            time_limit: Duration::from_millis(25),
            is_exact: false,
            kind: LeaseKind::Admit,
            rates: Box::default(),
            max_held: 0,
            max_cost: u32::MAX,
        };
        rules.settle()
    }

    /// Returns the same rules for other rates.
    pub fn for_rates(self, rates: impl IntoIterator<Item = Rate>) -> Self {
        Self { asked: rates.into_iter().collect(), ..self }.settle()
    }

    /// Sets the part of the burst that replicas may hold. Default: 20 %. More than
    /// 100 % count as 100 %. If less than 2 cells are left to a replica, the rules are
    /// [exact](LeaseKind::Exact).
    pub fn reserve(self, reserve: Ratio) -> Self {
        Self { reserve: reserve.min(Ratio::percent(100)), ..self }.settle()
    }

    /// Sets the time for which a replica holds cells. Default: 200 ms. Below 20 ms the rules are
    /// [exact](LeaseKind::Exact). More than an hour counts as an hour.
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease: lease.min(LONGEST_LEASE), ..self }.settle()
    }

    /// Sets the time within which the store replies. Default: 25 ms. More than a minute counts as a
    /// minute.
    pub fn time_limit(self, limit: Duration) -> Self {
        Self { time_limit: limit.min(LONGEST_TIME_LIMIT), ..self }
    }

    /// Holds no cells ahead: the rules are [exact](LeaseKind::Exact).
    pub fn exact(self) -> Self {
        Self { is_exact: true, ..self }.settle()
    }

    /// Returns the rates that the rules were made for, also those with a period of 0.
    pub fn asked(&self) -> &[Rate] {
        &self.asked
    }

    /// Returns how the cells come.
    pub const fn kind(&self) -> LeaseKind {
        self.kind
    }

    /// Returns the rates that the store is asked for: all but those with a period of 0.
    pub fn rates(&self) -> &[LeasedRate] {
        &self.rates
    }

    /// Returns the most cells that a replica holds and asks for, for one key.
    pub const fn max_held(&self) -> u32 {
        self.max_held
    }

    /// Returns the most replicas, at least 1.
    pub const fn replicas(&self) -> u32 {
        self.replicas
    }

    /// Returns the part of the burst that replicas may hold, also if the rules are
    /// [exact](LeaseKind::Exact).
    pub const fn reserve_ratio(&self) -> Ratio {
        self.reserve
    }

    /// Returns whether [`exact`](Self::exact) was set, so that no other number makes the rules lease.
    pub const fn is_always_exact(&self) -> bool {
        self.is_exact
    }

    /// Returns the most cells that a call can cost: the smallest burst of the store.
    pub const fn max_cost(&self) -> u32 {
        self.max_cost
    }

    /// Returns the time for which a replica holds cells.
    pub const fn lease_time(&self) -> Duration {
        self.lease
    }

    /// Returns the time for which a lease should suffice: a quarter of the lease.
    pub fn horizon(&self) -> Duration {
        self.lease / 4
    }

    /// Returns the shortest time between a grant that fell short and the next request: an eighth of
    /// the lease, and at least 1 ms.
    pub fn pace(&self) -> Duration {
        (self.lease / 8).max(Duration::from_millis(1))
    }

    /// Returns the time within which the store replies.
    pub const fn reply_time(&self) -> Duration {
        self.time_limit
    }

    /// The time in which an empty bucket of the slowest rate fills.
    pub(crate) fn time_to_full(&self) -> Duration {
        let span = |rate: &LeasedRate| rate.span(u64::from(rate.burst()));
        Duration::from_nanos(self.rates.iter().map(span).max().unwrap_or(0))
    }

    /// The time after the sending of a request for which its cells may be spent.
    pub(crate) fn good_for(&self) -> u64 {
        // In exact mode cells are for the calls that waited. What is left of them bunches with later
        // cells by no more than the time of a trip.
        let time = if self.kind == LeaseKind::Leased { self.lease } else { self.time_limit };
        saturating_nanos(time)
    }

    fn settle(mut self) -> Self {
        let limited = || self.asked.iter().filter(|rate| !rate.interval().is_zero());
        let held = limited().map(|rate| self.held_of(*rate)).min().unwrap_or(0);
        let is_exact = self.is_exact || held < 2 || self.lease < SHORTEST_LEASE;
        let rates: Box<[_]> = limited()
            .map(|rate| {
                let interval = saturating_nanos(rate.interval());
                LeasedRate { rate: *rate, burst: self.store_burst(*rate, held, is_exact), interval }
            })
            .collect();
        self.kind = match &*rates {
            _ if self.asked.iter().any(|rate| rate.count() == 0) => LeaseKind::Refuse,
            [] => LeaseKind::Admit,
            _ if is_exact => LeaseKind::Exact,
            _ => LeaseKind::Leased,
        };
        self.max_cost = match self.kind {
            LeaseKind::Refuse => 0,
            _ => rates.iter().map(|rate| rate.burst).min().unwrap_or(u32::MAX),
        };
        self.rates = rates;
        self.max_held = if is_exact { self.max_cost.min(MAX_HELD) } else { held };
        self
    }

    /// The most cells that a replica may hold of this rate.
    fn held_of(&self, rate: Rate) -> u32 {
        let reserve = u128::from(rate.burst_size()) * u128::from(self.reserve.parts_per_million());
        let lease = u128::from(saturating_nanos(self.lease)) * MILLION;
        // If the cells of a lease fit into the reserve, the time alone bounds what all hold.
        let is_bound_by_time = lease <= reserve * u128::from(saturating_nanos(rate.interval()));
        let parts = if is_bound_by_time { 1 } else { u128::from(self.replicas) };
        u32::try_from(reserve / MILLION / parts).unwrap_or(u32::MAX).min(MAX_HELD)
    }

    fn store_burst(&self, rate: Rate, held: u32, is_exact: bool) -> u32 {
        if is_exact {
            return rate.burst_size();
        }
        let interval = u128::from(saturating_nanos(rate.interval()).max(1));
        let in_time = u128::from(saturating_nanos(self.lease)).div_ceil(interval);
        let at_once = u128::from(self.replicas) * u128::from(held);
        let ahead = u32::try_from(in_time.min(at_once)).unwrap_or(u32::MAX);
        rate.burst_size().saturating_sub(ahead).max(1)
    }
}

const MILLION: u128 = 1_000_000;
/// The cells of a slot have 20 bits.
const MAX_HELD: u32 = (1 << 20) - 1;
const SHORTEST_LEASE: Duration = Duration::from_millis(20);
const LONGEST_LEASE: Duration = Duration::from_secs(3600);
const LONGEST_TIME_LIMIT: Duration = Duration::from_secs(60);
