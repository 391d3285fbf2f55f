use std::sync::{Arc, atomic::Ordering::Relaxed};

use buttress_control::{Denied, LeaseKind, LeaseRules, Nanos, Rate};
use buttress_core::{Attempt, Criticality, Enforcement, StoreKey};
use buttress_state::sync::lock;

use super::{FleetCells, FleetSnapshot, observe, refill};
use crate::{
    RateLimit,
    limit::{Admission, CallInfo, KeyWriter, LimitPerKey, Refusal, RefusalReason},
    queue::{QueuedCall, Supply},
    rate::{CellQueue, CellSupply, CellsLeft, RateGrant},
};

impl CellSupply for FleetCells {
    const NEEDS_KEY: bool = true;

    fn is_bound(&self) -> bool {
        self.has_key()
    }

    fn bind(&self, key: Option<&[u8]>) {
        self.set_key(key);
    }

    #[inline]
    fn take(&self, now: Nanos, cells: u32) -> Option<CellsLeft> {
        let taken = self.slots.take(now, cells)?;
        // Relaxed: a late look at the number only delays a request.
        let is_low = taken.has_room && taken.left < self.refill_below.load(Relaxed);
        Some(if is_low { CellsLeft::Few } else { CellsLeft::Enough })
    }

    fn restock_ahead(queue: &Arc<CellQueue<Self>>) {
        refill::restock_in_runtime(queue);
    }

    #[cold]
    fn admit_later(
        queue: &Arc<CellQueue<Self>>,
        now: Nanos,
        cells: u32,
        call: &CallInfo<'_>,
    ) -> Admission<RateGrant, QueuedCall<Self>> {
        let supply = &queue.supply;
        supply.name(call.settings.origin.name());
        let spare = Attempt::current().is_spare();
        let observed = call.settings.enforcement == Enforcement::Observe && !spare;
        // Whether a denial refuses the call at once.
        let is_brief = spare || observed || queue.is_off();
        let (kind, max_cost, denied) = {
            let law = lock(&supply.law);
            (law.rules.kind(), law.rules.max_cost(), law.denial(now, cells).filter(|_| is_brief))
        };
        if cells == 0 || kind == LeaseKind::Admit {
            supply.count(call.criticality);
            return Admission::Admitted(RateGrant::new(supply.quotas(call.settings, now)));
        }
        let refuse = |refusal| {
            Admission::Refused(Refusal { quotas: supply.quotas(call.settings, now), ..refusal })
        };
        match (kind, denied) {
            (LeaseKind::Refuse, _) if is_brief => {
                refuse(supply.refusal(now, RefusalReason::Rate, 0, cells))
            }
            (LeaseKind::Refuse, _) => Self::enter(queue, cells, call),
            _ if cells > max_cost => refuse(Refusal::new(RefusalReason::Cost)),
            (_, Some(wait)) => refuse(Refusal::new(RefusalReason::Rate).limited(Some(wait))),
            _ if spare => refuse(supply.refusal(now, RefusalReason::Rate, 0, cells)),
            _ if observed => Self::observe(queue, now, cells, call),
            _ => Self::enter(queue, cells, call),
        }
    }

    #[inline]
    fn count(&self, criticality: Criticality) {
        Self::count(self, criticality);
    }

    fn admitted(&self) -> [u64; 4] {
        Self::admitted(self)
    }

    fn fleet(&self) -> Option<FleetSnapshot> {
        Some(self.snapshot())
    }

    fn fresh(&self) -> Self {
        let law = lock(&self.law);
        Self::over(Arc::clone(&self.shared), Arc::clone(&law.rules), law.policy)
    }

    fn is_idle(&self, now: Nanos) -> bool {
        let mut law = lock(&self.law);
        let (held, ended) = law.look(now, &self.slots);
        self.count_expired(ended);
        held == 0 && law.pool == 0 && law.lease.is_idle(now)
    }

    fn settle_unused(queue: &Arc<CellQueue<Self>>) {
        refill::pay(queue);
    }

    fn tokens(&self, now: Nanos) -> u32 {
        self.slots.held(now)
    }

    fn rates(&self) -> Vec<Rate> {
        lock(&self.law).rules.asked().to_vec()
    }

    fn set_rate(&self, now: Nanos, index: usize, rate: Rate) {
        let mut law = lock(&self.law);
        let mut rates = law.rules.asked().to_vec();
        let Some(place) = rates.get_mut(index) else { return };
        *place = rate;
        let rules = LeaseRules::clone(&law.rules).for_rates(rates);
        self.set_rules(now, &mut law, rules);
    }
}

impl<W: Clone, K: StoreKey> LimitPerKey<K> for RateLimit<W, FleetCells> {
    fn writer() -> Option<KeyWriter<K>> {
        Some(K::write)
    }
}

impl FleetCells {
    /// Lets a call wait for the store or for the rate.
    fn enter(
        queue: &Arc<CellQueue<Self>>,
        cells: u32,
        call: &CallInfo<'_>,
    ) -> Admission<RateGrant, QueuedCall<Self>> {
        let admission = QueuedCall::enter(queue, cells, call);
        if !matches!(admission, Admission::Waiting(_)) {
            // Also a call that was decided without the store lets the store be asked again.
            refill::restock_in_runtime(queue);
        }
        match admission {
            Admission::Refused(refusal) => {
                let supply = &queue.supply;
                let now = queue.now();
                // Without a queue, there is none that is full: the rate, or the store, refuses.
                let is_off = refusal.detail == RefusalReason::QueueFull && queue.max() == 0;
                let refusal = if is_off {
                    supply.refusal(now, supply.why_for(now, cells), 0, cells)
                } else {
                    refusal
                };
                let quotas = supply.quotas(call.settings, now);
                Admission::Refused(Refusal { quotas, ..refusal })
            }
            admission => admission,
        }
    }

    /// Lets a call pass, and asks for its cells.
    fn observe(
        queue: &Arc<CellQueue<Self>>,
        now: Nanos,
        cells: u32,
        call: &CallInfo<'_>,
    ) -> Admission<RateGrant, QueuedCall<Self>> {
        observe::note(&queue.supply, cells, call);
        refill::restock(queue);
        if !lock(&queue.supply.law).lease.is_in_flight() {
            observe::decide(&queue.supply, now).report(&queue.supply, now);
        }
        Admission::Unlimited
    }

    /// Why a call of so many cells is refused that may not wait.
    fn why_for(&self, now: Nanos, cells: u32) -> RefusalReason {
        let mut law = lock(&self.law);
        let is_over_share = law.lease.is_away()
            && law.policy == super::WithoutStore::LocalShare
            && law.share_at(now).wait_behind(now, 0, cells) == Err(Denied::Never);
        drop(law);
        if is_over_share { RefusalReason::Store } else { self.why() }
    }

    /// Why a call is refused that may not wait.
    pub(super) fn why(&self) -> RefusalReason {
        let law = lock(&self.law);
        let is_closed = law.policy == super::WithoutStore::FailClosed;
        if law.lease.is_away() && is_closed { RefusalReason::Store } else { RefusalReason::Rate }
    }

    /// Makes the key for the store, of the name of the layer and of the key of the limit.
    fn name(&self, instance: &str) {
        if self.store_key.get().is_some() {
            return;
        }
        self.store_key.get_or_init(|| self.quota_key(instance).into());
        self.shared.numbers.instance.get_or_init(|| instance.into());
    }
}
