//! A replica: the law, two slots, calls in line and the requests under way.

use std::collections::VecDeque;

use buttress_control::{Lease, LeaseDemand, LeaseReply, LeaseRules, Nanos, Rates};

use super::store::{Reply, Request};

#[derive(Default)]
pub(crate) struct Replica {
    pub(crate) lease: Lease,
    pub(crate) slots: [(u32, u64); 2],
    pub(crate) waiting: VecDeque<u32>,
    pub(crate) replies: Vec<(u64, Reply)>,
    pub(crate) expired: u64,
    pub(crate) share: Option<Rates>,
    current: Option<u64>,
    requests: Vec<(u64, Option<Request>)>,
}

impl Replica {
    /// Takes from the first slot that has the cells.
    pub(crate) fn take(&mut self, time: u64, cost: u32) -> bool {
        let mut slots = self.slots.iter_mut();
        let slot = slots.find(|(cells, ends)| *cells >= cost && time < *ends);
        slot.map(|(cells, _)| *cells -= cost).is_some()
    }

    pub(crate) fn is_low(&self, now: Nanos, rules: &LeaseRules) -> bool {
        let below = self.lease.refill_below(now, rules);
        below.is_some_and(|below| self.held(now.get()) <= below && self.slots.contains(&(0, 0)))
    }

    pub(crate) fn take_share(&mut self, now: Nanos, rules: &LeaseRules, cost: u32) -> bool {
        let lease = &self.lease;
        let share = self.share.get_or_insert_with(|| lease.share(now, rules));
        let is_admitted = share.take(now, cost).is_ok();
        if is_admitted {
            self.lease.owe(u64::from(cost));
        }
        is_admitted
    }

    fn held(&self, time: u64) -> u32 {
        self.slots.iter().filter(|(_, ends)| time < *ends).map(|(cells, _)| cells).sum()
    }

    fn clear_slots(&mut self, time: u64) {
        for slot in &mut self.slots {
            if slot.0 == 0 || slot.1 <= time {
                self.expired += u64::from(slot.0);
                *slot = (0, 0);
            }
        }
        if self.slots[0] == (0, 0) {
            self.slots.swap(0, 1);
        }
    }

    pub(crate) fn ask(&mut self, now: Nanos, rules: &LeaseRules) -> Option<u64> {
        self.clear_slots(now.get());
        let waiting = self.waiting.iter().map(|cost| u64::from(*cost)).sum();
        let first = self.waiting.front().copied().unwrap_or(0);
        let demand = LeaseDemand::new(waiting, first, self.held(now.get()));
        let refill = self.lease.refill(now, rules, demand)?;
        let rates = rules.rates().iter().enumerate().map(|(index, rate)| {
            let interval = super::nanos(rate.interval());
            (interval, rate.burst(), self.lease.expects(now, rules, index))
        });
        let request = Request { refill, rates: rates.collect() };
        let number = now.get() << 8 | self.requests.len() as u64;
        self.requests.push((number, Some(request)));
        self.current = Some(number);
        Some(number)
    }

    pub(crate) fn sent(&mut self, number: u64) -> Option<Request> {
        self.requests.iter_mut().find(|(sent, _)| *sent == number)?.1.take()
    }

    /// Serves calls with a reply, and puts the rest into a slot. `None` if no call waits for the reply.
    pub(crate) fn reply(
        &mut self,
        now: Nanos,
        rules: &LeaseRules,
        number: u64,
    ) -> Option<Vec<u32>> {
        let place = self.replies.iter().position(|(sent, _)| *sent == number)?;
        let (_, reply) = self.replies.swap_remove(place);
        if self.current != Some(number) {
            return None;
        }
        self.current = None;
        let Reply { granted, next, full_in, remaining, .. } = &reply;
        let reply = LeaseReply::new(*granted, *next, full_in, *remaining);
        let leased = self.lease.grant(now, rules, reply);
        self.expired += u64::from(leased.expired);
        if leased.is_regained {
            self.share = None;
        }
        self.clear_slots(now.get());
        let (mut cells, mut served) = (leased.cells, Vec::new());
        while let Some(&cost) = self.waiting.front() {
            let mut missing = cost.saturating_sub(cells);
            if missing > self.held(now.get()) {
                break;
            }
            cells -= cost - missing;
            for (slot, _) in &mut self.slots {
                let part = missing.min(*slot);
                (*slot, missing) = (*slot - part, missing - part);
            }
            served.extend(self.waiting.pop_front());
        }
        self.clear_slots(now.get());
        if cells > 0 && now < leased.ends {
            // The slot that holds the fewest cells makes room.
            let slot = self.slots.iter_mut().min_by_key(|slot| slot.0).unwrap();
            self.expired += u64::from(slot.0);
            *slot = (cells, leased.ends.get());
        }
        Some(served)
    }

    /// Gives up a request whose time is over. Returns whether the replica still waited for it.
    pub(crate) fn give_up(&mut self, now: Nanos, number: u64) -> bool {
        let is_current = self.current == Some(number);
        if is_current {
            self.current = None;
            self.lease.fail(now, None);
        }
        is_current
    }
}
