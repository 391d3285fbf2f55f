use std::{sync::Arc, time::Duration};

use buttress_control::{Denied, Gcra, Nanos, Rate, Rates, Reservation};
use buttress_core::{Attempt, Criticality, Enforcement, Quota};
use buttress_state::sync::atomic::{AtomicBool, Ordering};

use super::cells::{CellQueue, CellSupply, Cells, CellsLeft, RateGrant};
use crate::{
    limit::{
        Admission, CallInfo, CountsByCriticality, QuotaHeaders, Refusal, RefusalReason, Settings,
        sealed,
    },
    queue::{QueuedCall, Supply, Unavailable, WaiterEntry},
};

/// The cells of one or more rates.
#[derive(Debug)]
pub struct RateState {
    pub(crate) rates: Rates,
    // Beside the counters: every call that takes a cell writes that cache line anyway.
    waiting: AtomicBool,
    admitted: CountsByCriticality,
}

impl RateState {
    pub(crate) fn new(rates: Rates) -> Self {
        Self { rates, waiting: AtomicBool::new(false), admitted: CountsByCriticality::new() }
    }

    /// Whether the rates never hold this many cells.
    pub(crate) fn is_never(&self, now: Nanos, cells: u32) -> bool {
        // `fits` takes a lock, so it comes second.
        self.rates.wait_behind(now, 0, cells) == Err(Denied::Never) && !self.rates.fits(cells)
    }

    /// The wait of the last place in a full queue, if each call takes one cell.
    pub(crate) fn full_queue(&self, bound: usize) -> Duration {
        let bound = u32::try_from(bound).unwrap_or(u32::MAX);
        let interval = |law: &Gcra| law.rate().period() / law.rate().count().max(1);
        self.rates.laws().map(interval).max().unwrap_or_default().saturating_mul(bound)
    }

    #[cold]
    fn describe(&self, name: &str, now: Nanos) -> Box<[Quota]> {
        let one = self.rates.laws().nth(1).is_none();
        let describe = |(law, number): (&Gcra, u32)| {
            let rate = law.rate();
            let name = if one { name.to_owned() } else { format!("{name}-{number}") };
            let (count, remaining) = (u64::from(rate.count()), u64::from(law.tokens(now)));
            Quota::new(name, count, rate.period(), remaining, law.full_in(now))
        };
        self.rates.laws().zip(1..).map(describe).collect()
    }
}

impl sealed::Sealed for Rates {}

impl Cells for Rates {
    type Supply = RateState;
}

impl CellSupply for RateState {
    #[inline]
    fn take(&self, now: Nanos, cells: u32) -> Option<CellsLeft> {
        self.rates.take(now, cells).is_ok().then_some(CellsLeft::Enough)
    }

    #[cold]
    fn admit_later(
        queue: &Arc<CellQueue<Self>>,
        now: Nanos,
        cells: u32,
        call: &CallInfo<'_>,
    ) -> Admission<RateGrant, QueuedCall<Self>> {
        let state = &queue.supply;
        // Read here and not in `admit`, which costs nothing more while cells are free.
        let spare = Attempt::current().is_spare();
        // Also in observe mode, a spare call takes only what is free and due to no waiter.
        let observed = call.settings.enforcement == Enforcement::Observe && !spare;
        // Observe mode: a call that would have waited is admitted now, with cells of later calls.
        let max_delay = if observed { state.full_queue(queue.max()) } else { Duration::ZERO };
        // A call of no cells never waits, whatever the queue.
        if (cells == 0 || observed) && state.rates.reserve(now, cells, max_delay).is_ok() {
            state.count(call.criticality);
            return Admission::Admitted(RateGrant::new(state.quotas(call.settings, now)));
        }
        let refusal = if state.is_never(now, cells) {
            Refusal::new(RefusalReason::Cost)
        } else if spare || observed || queue.is_off() {
            let others_wait = spare && state.is_waiting_set();
            let ahead = if others_wait { queue.ahead(now, call.criticality) } else { 0 };
            state.refusal(now, RefusalReason::Rate, ahead, cells)
        } else {
            match QueuedCall::enter(queue, cells, call) {
                Admission::Refused(refusal) => refusal,
                admission => return admission,
            }
        };
        Admission::Refused(Refusal { quotas: state.quotas(call.settings, now), ..refusal })
    }

    #[inline]
    fn count(&self, criticality: Criticality) {
        self.admitted.add(criticality);
    }

    fn admitted(&self) -> [u64; 4] {
        self.admitted.counts()
    }

    fn fresh(&self) -> Self {
        Self::new(self.rates.fresh())
    }

    fn is_idle(&self, now: Nanos) -> bool {
        self.rates.is_fresh(now)
    }

    fn tokens(&self, now: Nanos) -> u32 {
        self.rates.tokens(now)
    }

    fn rates(&self) -> Vec<Rate> {
        self.rates.laws().map(Gcra::rate).collect()
    }

    fn set_rate(&self, now: Nanos, index: usize, rate: Rate) {
        self.rates.set_rate(now, index, rate);
    }
}

impl Supply for RateState {
    type Grant = Reservation;

    const TIMED: bool = true;

    #[inline]
    fn is_waiting_set(&self) -> bool {
        // Acquire, paired with the release in `take_or_set_waiting`: a call that comes after a call
        // has enqueued sees the flag. A call that comes at the same time may go first.
        self.waiting.load(Ordering::Acquire)
    }

    fn take_or_set_waiting(&self, now: Nanos, cells: u32) -> Option<Reservation> {
        // Must precede `reserve`: from here on, later calls take the lock of the queue, which the
        // caller holds. Otherwise a call could take the cells that come between the two steps.
        self.waiting.store(true, Ordering::Release);
        self.rates.reserve(now, cells, Duration::ZERO).ok()
    }

    /// Takes at the time the cells were due, if that is at most [`LATE`] ago. A timer fires up to a
    /// millisecond late, and a burst of one cell would lose the cells that came meanwhile.
    fn take_for_waiter(&self, now: Nanos, entry: WaiterEntry) -> Result<Reservation, Unavailable> {
        let earliest = Nanos::new(now.get().saturating_sub(LATE));
        let mut at = entry.since.max(earliest);
        loop {
            match self.rates.reserve(at, entry.cells, Duration::ZERO) {
                Ok(taken) => return Ok(taken),
                Err(Denied::After(wait)) => {
                    // `wait` is above zero, because `reserve` had no patience. So `at` grows in
                    // each round, and the loop ends once `at` has passed `now`.
                    at = Nanos::new(at.get().saturating_add(Nanos::from(wait).get()));
                    if at > now {
                        return Err(Unavailable::Until(at));
                    }
                }
                // A rate of 0 can be raised again.
                Err(Denied::Never) if self.rates.fits(entry.cells) => {
                    return Err(Unavailable::Unknown);
                }
                Err(_) => return Err(Unavailable::Never),
            }
        }
    }

    fn clear_waiting(&self) -> bool {
        // A relaxed load suffices, because the flag is written only under the lock of the queue,
        // which the caller holds. Release, paired with the acquire in `is_waiting_set`: a call that
        // sees the flag clear sees the cells that the queue took for its waiters.
        self.waiting.load(Ordering::Relaxed) && self.waiting.swap(false, Ordering::Release)
    }

    fn give_back(&self, now: Nanos, taken: Reservation) -> bool {
        // The caller holds the lock of the queue. A call that enqueues later finds the cells, and a
        // call that waits already has set the flag.
        self.rates.cancel(now, &taken);
        self.is_waiting_set()
    }

    /// Exact for one rate. With several rates, the wait of the slowest.
    fn expected_wait(
        &self,
        now: Nanos,
        ahead: u64,
        cells: u32,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.rates.wait_behind(now, ahead, cells).ok()
    }

    fn refusal(&self, now: Nanos, why: RefusalReason, ahead: u64, cells: u32) -> Refusal {
        match why {
            RefusalReason::Cost => Refusal::new(why),
            _ => Refusal::new(why).limited(self.rates.wait_behind(now, ahead, cells).ok()),
        }
    }

    #[inline]
    fn quotas(&self, settings: &Settings, now: Nanos) -> Option<Box<[Quota]>> {
        match settings.quota_headers {
            QuotaHeaders::Silent => None,
            QuotaHeaders::Quotas => Some(self.describe(settings.origin.name(), now)),
        }
    }
}

/// How late a timer may fire, in nanoseconds: 1 ms, because tokio's timers round up to that.
const LATE: u64 = 1_000_000;
