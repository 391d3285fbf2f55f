use std::{sync::Arc, time::Duration};

use buttress_control::{Denied, Gcra, Lease, LeaseRules, Nanos, Rates, Reservation};
use buttress_core::Criticality;

use super::{WithoutStore, grant::FleetGrant, slots::LeaseSlots};
use crate::{
    limit::{RefusalReason, Settings},
    queue::Unavailable,
};

/// The law of one key, and the cells of its last grant. Under a lock that is taken after the lock of
/// the queue.
#[derive(Debug)]
pub(super) struct Law {
    pub(super) rules: Arc<LeaseRules>,
    pub(super) policy: WithoutStore,
    pub(super) lease: Lease,
    /// The rate of this replica, once calls were decided without the store.
    // In a box: a rate takes cache lines of its own, and few keys need one.
    pub(super) share: Option<Box<Rates>>,
    /// Cells of a grant that waiters get first, and the time at which they end.
    pub(super) pool: u32,
    pub(super) pool_ends: Nanos,
    /// The cells of the slots when they were last looked at.
    known: u32,
    /// The time from which on calls count as undecided that came earlier: a call in the queue waits
    /// until then for the rate, and from then on for the store.
    pub(super) undecided_from: Nanos,
    /// The requests so far. The number of the request under way, if there is one.
    requests: u64,
    /// When the request under way is given up.
    overdue_at: Option<Nanos>,
    /// Whether calls may wait for a rate that is used up.
    pub(super) has_queue: bool,
    /// Since when the key is away.
    pub(super) away_since: Nanos,
    /// Calls that passed, and whose cells the store has not granted yet.
    pub(super) observed: Vec<Observed>,
}

/// A call of a layer that observes.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) cells: u32,
    pub(super) criticality: Criticality,
    pub(super) settings: Settings,
    /// Whether the request under way asks for its cells.
    pub(super) is_asked: bool,
}

impl Law {
    pub(super) fn new(rules: Arc<LeaseRules>, policy: WithoutStore) -> Self {
        Self {
            rules,
            policy,
            lease: Lease::new(),
            share: None,
            pool: 0,
            pool_ends: Nanos::new(0),
            known: 0,
            undecided_from: Nanos::new(0),
            requests: 0,
            overdue_at: None,
            has_queue: false,
            away_since: Nanos::new(0),
            observed: Vec::new(),
        }
    }

    /// Notes that a request begins. Returns its number.
    pub(super) fn begin(&mut self, now: Nanos) -> u64 {
        self.requests += 1;
        self.decide_from(now);
        self.overdue_at = Some(after(now, self.rules.reply_time() * OVERDUE));
        self.requests
    }

    /// Returns the request under way if its task should have ended it by now. The runtime of that
    /// task stands still.
    pub(super) fn overdue(&self, now: Nanos) -> Option<u64> {
        self.overdue_at.filter(|at| *at <= now).map(|_| self.requests)
    }

    /// Ends the request of this number. Returns whether it was under way.
    pub(super) fn end(&mut self, number: u64) -> bool {
        number == self.requests && self.overdue_at.take().is_some()
    }

    /// Lets calls in the queue wait for the store again, from now on or from the end of a denial on.
    pub(super) fn decide_from(&mut self, now: Nanos) {
        if self.has_queue {
            self.undecided_from =
                after(now, self.lease.denied(now, &self.rules, u32::MAX).unwrap_or_default());
        }
    }

    /// Returns since when a call waits for the store that has waited since `since`.
    pub(super) fn undecided_since(&self, now: Nanos, since: Nanos) -> Nanos {
        // In a queue, a request begins after this look, however late the look is.
        let is_asked = !self.has_queue || self.lease.is_in_flight();
        if is_asked { since.max(self.undecided_from) } else { now }
    }

    /// Returns the wait of a call that is denied without a request.
    pub(super) fn denial(&self, now: Nanos, cells: u32) -> Option<Duration> {
        self.lease.denied(now, &self.rules, cells)?;
        Some(self.lease.wait_behind(now, &self.rules, 0, cells))
    }

    /// Counts what calls took of the slots since the last look. Returns the cells that are held, and
    /// those that have ended.
    pub(super) fn look(&mut self, now: Nanos, slots: &LeaseSlots) -> (u32, u32) {
        let ended = slots.drop_ended(now);
        let held = slots.held(now);
        let spent = self.known.saturating_sub(held.saturating_add(ended));
        self.known = held;
        if spent > 0 {
            self.lease.spend(now, &self.rules, spent);
        }
        (held, ended)
    }

    /// Puts what waiters left of a grant into a slot. Returns the cells that were dropped.
    pub(super) fn store_pool(&mut self, now: Nanos, slots: &LeaseSlots) -> u32 {
        let (cells, ends) = (std::mem::take(&mut self.pool), self.pool_ends);
        if cells == 0 {
            return 0;
        }
        let (held, ended) = self.look(now, slots);
        // No more than the rules allow, also if a call left that cost more than that.
        let kept = cells.min(self.rules.max_held().saturating_sub(held));
        let kept = if now < ends { kept } else { 0 };
        let dropped = if kept > 0 { slots.put(now, kept, ends) } else { 0 };
        self.known = slots.held(now);
        ended + dropped + (cells - kept)
    }

    /// Takes cells that are held, of all grants together.
    pub(super) fn take_held(
        &mut self,
        now: Nanos,
        cells: u32,
        slots: &LeaseSlots,
    ) -> Option<FleetGrant> {
        let of_pool = self.pool.min(cells);
        let of_slots = cells - of_pool;
        let ends = if of_slots > 0 { slots.take_of_both(now, of_slots)? } else { self.pool_ends };
        self.pool -= of_pool;
        self.known = self.known.saturating_sub(of_slots);
        self.lease.spend(now, &self.rules, cells);
        let ends = if of_pool > 0 { ends.min(self.pool_ends) } else { ends };
        Some(FleetGrant::leased(cells, ends))
    }

    /// Decides a call without the store.
    pub(super) fn without_store(
        &mut self,
        now: Nanos,
        cells: u32,
    ) -> Result<FleetGrant, Unavailable> {
        let share = match self.policy {
            WithoutStore::FailClosed => return Err(Unavailable::Refused(RefusalReason::Store)),
            WithoutStore::FailOpen => None,
            WithoutStore::LocalShare => Some(self.reserve_share(now, cells)?),
        };
        self.lease.owe(cells.into());
        Ok(FleetGrant::owed(cells, share))
    }

    fn reserve_share(&mut self, now: Nanos, cells: u32) -> Result<Reservation, Unavailable> {
        let share = self.share_at(now);
        share.reserve(now, cells, Duration::ZERO).map_err(|denied| match denied {
            Denied::After(wait) if self.has_queue => Unavailable::Until(after(now, wait)),
            Denied::After(_) => Unavailable::Refused(RefusalReason::Rate),
            _ => Unavailable::Refused(RefusalReason::Store),
        })
    }

    /// Whether every call is admitted now.
    pub(super) const fn is_unlimited(&self) -> bool {
        self.lease.is_away() && matches!(self.policy, WithoutStore::FailOpen)
    }

    /// Returns the cells of a rate that are left outside this replica, and the time until all are. While
    /// the key is away, those of this replica's part.
    pub(super) fn left(&mut self, now: Nanos, index: usize) -> (u64, Duration) {
        if self.lease.is_away() && self.policy == WithoutStore::LocalShare {
            let part = self.share_at(now).laws().nth(index);
            let left = |law: &Gcra| (u64::from(law.tokens(now)), law.full_in(now));
            return part.map(left).unwrap_or_default();
        }
        self.lease.left_in_store(now, index)
    }

    pub(super) fn share_at(&mut self, now: Nanos) -> &Rates {
        let (lease, rules) = (&self.lease, &self.rules);
        self.share.get_or_insert_with(|| Box::new(lease.share(now, rules)))
    }
}

/// The time limits after which a request without an end is given up. Its task ends after two.
const OVERDUE: u32 = 4;

pub(super) fn after(time: Nanos, duration: Duration) -> Nanos {
    Nanos::new(time.get().saturating_add(Nanos::from(duration).get()))
}
