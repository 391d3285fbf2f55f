use super::rules::LeaseRules;
use crate::Nanos;

/// The end of a denial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Denial {
    /// For calls of `min` cells or more.
    pub(super) until: Nanos,
    pub(super) min: u32,
    /// For all calls.
    pub(super) pace_until: Nanos,
}

impl Denial {
    pub(super) const NONE: Self = Self { until: Nanos::new(0), min: 0, pace_until: Nanos::new(0) };

    /// The end for calls of fewer cells than `min`.
    #[cold]
    pub(super) fn until_cheaper(self, last: &LastGrant, rules: &LeaseRules, cells: u32) -> Nanos {
        // Counted from the reply: the store may have counted that late.
        let there = last.there_at(rules, cells.into(), last.trip);
        there.max(self.pace_until).min(self.until)
    }
}

#[derive(Clone, Debug)]
pub(super) struct LastGrant {
    /// The time between the request and its reply.
    pub(super) trip: u64,
    pub(super) remaining: u64,
    /// For each rate, the earliest time at which its bucket is full, if no replica takes cells.
    pub(super) full_at: Box<[Nanos]>,
}

impl LastGrant {
    /// The time at which these cells are in the store, if no replica takes any. `later`: how much
    /// later than `full_at` the buckets may be full.
    pub(super) fn there_at(&self, rules: &LeaseRules, cells: u64, later: u64) -> Nanos {
        let rates = rules.rates().iter().zip(&self.full_at);
        let there = rates.map(|(rate, full_at)| {
            let full_at = full_at.get().saturating_add(later);
            let behind = full_at.saturating_add(rate.span(cells));
            behind.saturating_sub(rate.span(u64::from(rate.burst())))
        });
        Nanos::new(there.max().unwrap_or(0))
    }
}
