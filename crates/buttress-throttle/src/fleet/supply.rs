use std::{sync::Arc, time::Duration};

use buttress_control::{LeaseKind, Nanos};
use buttress_core::Quota;
use buttress_state::sync::{
    atomic::Ordering::{Acquire, Relaxed, Release},
    lock,
};

use super::{
    FleetCells, WithoutStore,
    grant::{FleetGrant, Source},
    refill,
};
use crate::{
    limit::{QuotaHeaders, Refusal, RefusalReason, Settings},
    queue::{Supply, Unavailable, WaiterEntry},
    rate::CellQueue,
};

impl Supply for FleetCells {
    type Grant = FleetGrant;

    const TIMED: bool = true;

    #[inline]
    fn is_waiting_set(&self) -> bool {
        // Acquire, paired with the release in `take_or_set_waiting`, as for a local rate.
        self.waiting.load(Acquire)
    }

    fn take_or_set_waiting(&self, now: Nanos, cells: u32) -> Option<FleetGrant> {
        // Must precede `decide`: from here on, later calls take the lock of the queue.
        self.waiting.store(true, Release);
        self.decide(now, WaiterEntry { since: now, cells }).ok()
    }

    fn take_for_waiter(&self, now: Nanos, entry: WaiterEntry) -> Result<FleetGrant, Unavailable> {
        self.decide(now, entry)
    }

    fn clear_waiting(&self) -> bool {
        // Under the lock of the queue, as for a local rate.
        self.waiting.load(Relaxed) && self.waiting.swap(false, Release)
    }

    fn give_back(&self, now: Nanos, grant: FleetGrant) -> bool {
        let mut law = lock(&self.law);
        match grant.source {
            Source::Leased(ends) => {
                if self.slots.put_back(now, grant.cells, ends) {
                    law.look(now, &self.slots);
                } else {
                    self.count_expired(grant.cells);
                }
            }
            // The cells stay owed: the store then grants less, and never too much.
            Source::Owed(share) => {
                if let (Some(share), Some(rates)) = (share, &law.share) {
                    rates.cancel(now, &share);
                }
            }
            Source::Free => {}
        }
        self.is_waiting_set()
    }

    fn expected_wait(
        &self,
        now: Nanos,
        ahead: u64,
        cells: u32,
        _: Option<Duration>,
    ) -> Option<Duration> {
        let mut law = lock(&self.law);
        if law.lease.is_away() {
            let is_share = law.policy == WithoutStore::LocalShare;
            return law.share_at(now).wait_behind(now, ahead, cells).ok().filter(|_| is_share);
        }
        law.lease.denied(now, &law.rules, cells)?;
        Some(law.lease.wait_behind(now, &law.rules, ahead, cells))
    }

    fn refusal(&self, now: Nanos, why: RefusalReason, ahead: u64, cells: u32) -> Refusal {
        let refusal = Refusal::new(why);
        match why {
            RefusalReason::Cost => refusal,
            RefusalReason::Store => Refusal { retry_after: Some(AWAY), ..refusal },
            // A rate of 0 brings no cells, until it is raised.
            _ if lock(&self.law).rules.kind() == LeaseKind::Refuse => refusal.limited(None),
            _ => {
                let wait = self.expected_wait(now, ahead, cells, None);
                refusal.limited(wait.or_else(|| Some(lock(&self.law).rules.pace())))
            }
        }
    }

    fn places(&self, now: Nanos, waiting: usize, cells: u64, max: usize) -> usize {
        let law = lock(&self.law);
        let is_decided = law.lease.is_away() || law.lease.denied(now, &law.rules, 1).is_some();
        let is_refused = law.rules.kind() == LeaseKind::Refuse;
        if is_refused || is_decided {
            return max;
        }
        // Calls that the store can admit together need no place in the queue. Of those that wait,
        // this part can be admitted.
        let (most, waiting) = (u64::from(law.rules.max_cost()), waiting as u64);
        let part =
            if cells < most { u64::MAX } else { waiting.saturating_mul(most) / cells.max(1) };
        max.saturating_add(usize::try_from(part).map_or(UNDECIDED, |part| part.min(UNDECIDED)))
    }

    fn restock(queue: &Arc<CellQueue<Self>>) {
        refill::restock(queue);
    }

    #[inline]
    fn quotas(&self, settings: &Settings, now: Nanos) -> Option<Box<[Quota]>> {
        match settings.quota_headers {
            QuotaHeaders::Silent => None,
            QuotaHeaders::Quotas => self.describe(settings.origin.name(), now),
        }
    }
}

/// The most calls that wait for the store to decide.
const UNDECIDED: usize = 1024;

/// The retry delay of a call that is refused because the store is away.
const AWAY: Duration = Duration::from_millis(100);
