use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use buttress_control::{LeaseKind, LeaseRules, LeasedRate, Nanos, Rate};
use buttress_core::{Criticality, Quota, StoreKey};
use buttress_state::{
    AnyQuotaStore, QuotaStore, quota_key,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
        lock,
    },
};

use super::{
    Fleet, FleetOptions, FleetSnapshot, WithoutStore,
    grant::FleetGrant,
    law::{Law, after},
    numbers::Numbers,
    slots::LeaseSlots,
};
use crate::{
    limit::{CountsByCriticality, sealed},
    queue::{Unavailable, WaiterEntry},
    rate::Cells,
};

/// The cells of a rate that the replicas of a [`Fleet`] keep together.
#[derive(Debug)]
pub struct FleetCells {
    pub(super) shared: Arc<Shared>,
    /// The bytes of the key that this limit belongs to, or `None` for all keys without room. Not set
    /// for a limit without keys.
    key: OnceLock<Option<Box<[u8]>>>,
    /// The key for the store: the name of the layer and `key`.
    pub(super) store_key: OnceLock<Box<[u8]>>,
    pub(super) slots: LeaseSlots,
    pub(super) waiting: AtomicBool,
    /// One more than the number of cells from which on a request starts ahead of need. 0: none does.
    pub(super) refill_below: AtomicU32,
    admitted: CountsByCriticality,
    pub(super) law: Mutex<Law>,
}

/// What all keys of a layer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: AnyQuotaStore,
    pub(super) numbers: Numbers,
}

impl FleetCells {
    pub(crate) fn new(rates: impl IntoIterator<Item = Rate>, fleet: Fleet) -> Self {
        let Fleet { store, options } = fleet;
        let rules = options.rules(rates, store.time_limit());
        let shared = Shared { store, numbers: Numbers::new() };
        Self::over(Arc::new(shared), Arc::new(rules), options.without_store)
    }

    pub(super) fn over(shared: Arc<Shared>, rules: Arc<LeaseRules>, policy: WithoutStore) -> Self {
        Self {
            shared,
            key: OnceLock::new(),
            store_key: OnceLock::new(),
            slots: LeaseSlots::new(),
            waiting: AtomicBool::new(false),
            refill_below: AtomicU32::new(0),
            admitted: CountsByCriticality::new(),
            law: Mutex::new(Law::new(rules, policy)),
        }
    }

    /// Sets the bytes of the key, unless they are known.
    pub(super) fn set_key(&self, key: Option<&[u8]>) {
        self.key.get_or_init(|| key.map(Into::into));
    }

    pub(super) fn has_key(&self) -> bool {
        self.key.get().is_some()
    }

    /// The key for the store, of the name of the layer and of the key of the limit.
    pub(super) fn quota_key(&self, instance: &str) -> Vec<u8> {
        match self.key.get() {
            None => quota_key(instance, Some(&())),
            Some(None) => quota_key::<()>(instance, None),
            Some(Some(key)) => quota_key(instance, Some(&Encoded(key))),
        }
    }

    pub(crate) fn options(&self) -> FleetOptions {
        let law = lock(&self.law);
        FleetOptions::of(&law.rules, law.policy)
    }

    /// Sets the options. The caller then grants cells to the calls that wait.
    pub(crate) fn set_options(&self, now: Nanos, options: FleetOptions) {
        let mut law = lock(&self.law);
        law.policy = options.without_store;
        let rules = options.rules(law.rules.asked().iter().copied(), law.rules.reply_time());
        if rules != *law.rules {
            self.set_rules(now, &mut law, rules);
        }
    }

    /// Sets the rules of the law, those of a share too. Cells that are held stay good.
    pub(super) fn set_rules(&self, now: Nanos, law: &mut Law, rules: LeaseRules) {
        let before = Arc::clone(&law.rules);
        law.lease.set_rules(now, &before, &rules);
        if rules.rates().len() != before.rates().len() {
            law.share = None;
        }
        if let Some(share) = &law.share {
            for (index, leased) in rules.rates().iter().enumerate() {
                share.set_rate(now, index, leased.rate().share(rules.replicas()));
            }
        }
        law.rules = Arc::new(rules);
        law.decide_from(now);
        self.publish(now, law);
    }

    /// The time within which the store replies.
    pub(crate) fn time_limit(&self) -> Duration {
        lock(&self.law).rules.reply_time()
    }

    pub(crate) fn snapshot(&self) -> FleetSnapshot {
        self.shared.numbers.snapshot()
    }

    /// Tells calls without the lock what the law has decided.
    pub(super) fn publish(&self, now: Nanos, law: &Law) {
        let below = law.lease.refill_below(now, &law.rules);
        self.refill_below.store(below.map_or(0, |below| below.saturating_add(1)), Relaxed);
    }

    pub(super) fn count_expired(&self, cells: u32) {
        self.shared.numbers.expired.fetch_add(cells.into(), Relaxed);
    }

    pub(super) fn decide(&self, now: Nanos, entry: WaiterEntry) -> Result<FleetGrant, Unavailable> {
        let mut law = lock(&self.law);
        match law.rules.kind() {
            LeaseKind::Admit => return Ok(FleetGrant::free()),
            // A rate of 0 can be raised again.
            LeaseKind::Refuse => return Err(Unavailable::Unknown),
            _ if entry.cells > law.rules.max_cost() => return Err(Unavailable::Never),
            _ => {}
        }
        if let Some(grant) = law.take_held(now, entry.cells, &self.slots) {
            return Ok(grant);
        }
        if law.lease.is_away() {
            return self.without_store(&mut law, now, entry.cells);
        }
        if let Some(wait) = law.lease.denied(now, &law.rules, entry.cells) {
            return Err(Unavailable::Until(after(now, wait)));
        }
        let decided = after(law.undecided_since(now, entry.since), law.rules.reply_time());
        if now < decided {
            return Err(Unavailable::Until(decided));
        }
        self.without_store(&mut law, now, entry.cells)
    }

    pub(super) fn without_store(
        &self,
        law: &mut Law,
        now: Nanos,
        cells: u32,
    ) -> Result<FleetGrant, Unavailable> {
        let grant = law.without_store(now, cells)?;
        let cells = u64::from(cells);
        self.shared.numbers.away_admitted.fetch_add(cells, Relaxed);
        self.shared.numbers.debt.fetch_add(cells, Relaxed);
        Ok(grant)
    }

    #[cold]
    pub(super) fn describe(&self, name: &str, now: Nanos) -> Option<Box<[Quota]>> {
        let law = &mut *lock(&self.law);
        if law.is_unlimited() {
            return None;
        }
        let held = u64::from(self.slots.held(now));
        let rules = Arc::clone(&law.rules);
        let is_one = rules.asked().len() == 1;
        let describe = |(rate, number): (&Rate, u32)| {
            let name = if is_one { name.to_owned() } else { format!("{name}-{number}") };
            let (count, burst) = (rate.count().into(), rate.burst_size().into());
            let is_leased = |leased: &LeasedRate| leased.rate() == *rate;
            let (remaining, reset) = match rules.rates().iter().position(is_leased) {
                Some(index) => law.left(now, index),
                // A rate with a period of 0 has no bucket in the store, and is always full.
                None => (burst, Duration::ZERO),
            };
            let remaining = remaining.saturating_add(held).min(burst);
            Quota::new(name, count, rate.period(), remaining, reset)
        };
        Some(rules.asked().iter().zip(1..).map(describe).collect())
    }
}

impl Drop for FleetCells {
    fn drop(&mut self) {
        let law = lock(&self.law);
        if law.lease.is_away() {
            self.shared.numbers.keys_away.fetch_sub(1, Relaxed);
        }
        // Another layer may count on in the same numbers: see `fresh`.
        self.shared.numbers.debt.fetch_sub(law.lease.debt(), Relaxed);
    }
}

impl sealed::Sealed for FleetCells {}

impl Cells for FleetCells {
    type Supply = Self;
}

impl FleetCells {
    #[inline]
    pub(super) fn count(&self, criticality: Criticality) {
        self.admitted.add(criticality);
    }

    pub(super) fn admitted(&self) -> [u64; 4] {
        self.admitted.counts()
    }
}

/// A key that is bytes already.
struct Encoded<'a>(&'a [u8]);

impl StoreKey for Encoded<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

// A key has at most 512 bytes of a fleet, with the bytes of its key and of its last grant.
#[cfg(all(target_pointer_width = "64", not(buttress_loom)))]
const _: () = assert!(size_of::<FleetCells>() <= 384);
