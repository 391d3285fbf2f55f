mod admission_rate;
mod denial;
mod refill;
mod rules;
mod without_store;

use std::time::Duration;

use self::admission_rate::AdmissionRate;
use self::denial::{Denial, LastGrant};
use crate::Nanos;
use crate::numbers::nanos::whole_nanos;

pub use self::refill::{LeaseDemand, LeaseRefill, LeaseReply, LeasedCells};
pub use self::rules::{LeaseKind, LeaseRules, LeasedRate};

/// The cells of a shared rate that a replica holds for one key: when it asks the store, and for how
/// many.
///
/// A replica holds cells ahead, so most calls are decided without the store. With `ρ` cells per
/// second and a horizon of `h`, a replica makes about `2 / (ρ · h)` requests per cell.
///
/// The caller keeps the cells, makes the requests and lets the calls wait:
///
/// 1. If no cells are held, [`denied`](Self::denied) tells whether to ask at all.
/// 2. [`refill`](Self::refill) tells what to ask for. At most one request is under way.
/// 3. [`grant`](Self::grant) or [`fail`](Self::fail) ends the request.
/// 4. [`spend`](Self::spend) counts the cells that calls took.
///
/// If a request fails, the key is [away](Self::is_away) from the store. [`share`](Self::share) is
/// the rate of this replica meanwhile, and [`owe`](Self::owe) counts what that rate admits. The next
/// request that succeeds tells the store the debt.
#[derive(Clone, Debug)]
pub struct Lease {
    admissions: AdmissionRate,
    /// The cells to hold. The last target where nothing is held ahead now.
    target: u32,
    denial: Denial,
    in_flight: Option<InFlight>,
    debt: u64,
    last: Option<LastGrant>,
    /// The time from which on the store may be asked again, while the key is away.
    away: Option<Nanos>,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    sent: Nanos,
    refill: LeaseRefill,
    /// Whether the rates have changed since. The reply then tells nothing about the present rates.
    is_outdated: bool,
}

impl Lease {
    /// Creates a lease without cells.
    pub const fn new() -> Self {
        Self {
            admissions: AdmissionRate::NONE,
            target: FIRST_TARGET,
            denial: Denial::NONE,
            in_flight: None,
            debt: 0,
            last: None,
            away: None,
        }
    }

    /// Counts cells that calls took.
    pub fn spend(&mut self, now: Nanos, rules: &LeaseRules, cells: u32) {
        self.admissions.add(now, cells, average_over(rules));
    }

    /// Returns the time for which a call of `cells` cells is denied without a request. `None`: ask.
    ///
    /// A denial counts for the cells that the request needed, and for more. For fewer cells it ends
    /// once they can have come, so a costly call keeps no cheaper call waiting.
    #[inline]
    pub fn denied(&self, now: Nanos, rules: &LeaseRules, cells: u32) -> Option<Duration> {
        let until = match &self.last {
            Some(last) if cells < self.denial.min => self.denial.until_cheaper(last, rules, cells),
            _ => self.denial.until,
        };
        let left = until.get().checked_sub(now.get())?;
        (left > 0).then(|| Duration::from_nanos(left))
    }

    /// Returns the number of held cells from which on the next request should start ahead of need.
    /// `None`: nothing is held ahead.
    pub fn refill_below(&self, now: Nanos, rules: &LeaseRules) -> Option<u32> {
        let is_ready = self.in_flight.is_none() && self.denied(now, rules, 1).is_none();
        (is_ready && self.away.is_none_or(|from| from <= now) && self.is_busy(now, rules))
            .then_some(self.target / 2)
    }

    /// Returns whether a request is under way.
    pub const fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Begins a request if one is needed and allowed. End it with [`grant`](Self::grant) or
    /// [`fail`](Self::fail).
    ///
    /// Nothing is asked while another request is under way, while calls are
    /// [denied](Self::denied), within 100 ms after a failure, or if the rules need no store.
    pub fn refill(
        &mut self,
        now: Nanos,
        rules: &LeaseRules,
        demand: LeaseDemand,
    ) -> Option<LeaseRefill> {
        let is_over = self.away.is_none_or(|from| from <= now);
        let is_denied = self.denied(now, rules, demand.first.max(1)).is_some();
        let is_asked = matches!(rules.kind(), LeaseKind::Exact | LeaseKind::Leased);
        if !is_asked || self.in_flight.is_some() || !is_over || is_denied {
            return None;
        }
        let ahead = self.next_target(now, rules);
        let refill = self.to_ask(rules, demand, ahead)?;
        self.in_flight = Some(InFlight { sent: now, refill, is_outdated: false });
        Some(refill)
    }

    /// Ends a request that the store answered. Without a request under way, nothing is granted.
    pub fn grant(&mut self, now: Nanos, rules: &LeaseRules, reply: LeaseReply<'_>) -> LeasedCells {
        let Some(InFlight { sent, refill, is_outdated }) = self.in_flight.take() else {
            return LeasedCells { cells: 0, ends: now, expired: 0, is_regained: false };
        };
        let granted = reply.granted.min(refill.want);
        // An empty bucket is full after this time, so no reply can deny for longer.
        let longest = rules.time_to_full();
        self.debt = self.debt.saturating_sub(refill.debt);
        let last = LastGrant {
            trip: now.get().saturating_sub(sent.get()),
            remaining: reply.remaining,
            full_at: reply.full_in.iter().map(|time| after(sent, (*time).min(longest))).collect(),
        };
        self.last = (!is_outdated).then_some(last);
        if granted < refill.want && !is_outdated {
            let next = reply.next.min(longest).max(rules.pace());
            let (until, pace_until) = (after(now, next), after(now, rules.pace()));
            self.denial = Denial { until, pace_until, min: refill.min };
        }
        let is_regained = self.away.take().is_some();
        let ends = Nanos::new(sent.get().saturating_add(rules.good_for()));
        // A call that waited takes its cells of an exact rate, however late the reply is.
        let is_live = now < ends || rules.kind() != LeaseKind::Leased;
        let (cells, expired) = if is_live { (granted, 0) } else { (0, granted) };
        LeasedCells { cells, ends, expired, is_regained }
    }

    /// Returns the time until the store can grant these cells to a call behind others that take
    /// `ahead` cells first, if no other replica takes any. A lower bound.
    pub fn wait_behind(&self, now: Nanos, rules: &LeaseRules, ahead: u64, cells: u32) -> Duration {
        let behind = ahead.saturating_add(u64::from(cells));
        let there = self.last.as_ref().map(|last| last.there_at(rules, behind, 0).max(now));
        let there = there.map_or(0, |there| there.get().saturating_sub(now.get()));
        let denied = self.denied(now, rules, cells).unwrap_or_default();
        denied.max(Duration::from_nanos(there))
    }

    /// Returns the cells that the last grant left in the store, and the time until the bucket of this
    /// rate is full.
    pub fn left_in_store(&self, now: Nanos, rate: usize) -> (u64, Duration) {
        self.last_of(rate).map_or((0, Duration::ZERO), |(last, full_at)| {
            (last.remaining, Duration::from_nanos(full_at.get().saturating_sub(now.get())))
        })
    }

    /// Returns whether a new lease would behave the same for calls that come later. The caller holds
    /// no cells.
    pub fn is_idle(&self, now: Nanos) -> bool {
        let is_full = |last: &LastGrant| last.full_at.iter().all(|at| *at <= now);
        let knows_nothing = self.last.as_ref().is_none_or(is_full);
        self.in_flight.is_none() && self.debt == 0 && knows_nothing && self.denial.until <= now
    }

    /// The cells to hold from now on. 0 where so few calls come that held cells would be lost.
    fn next_target(&mut self, now: Nanos, rules: &LeaseRules) -> u32 {
        if !self.is_busy(now, rules) {
            self.target = FIRST_TARGET;
            return 0;
        }
        let wanted = whole_nanos(self.cells_ahead(now, rules));
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let most = self.target.saturating_mul(4);
        self.target = wanted.clamp(self.target / 2, most).min(rules.max_held());
        self.target
    }

    fn to_ask(&self, rules: &LeaseRules, demand: LeaseDemand, target: u32) -> Option<LeaseRefill> {
        let LeaseDemand { waiting, first, held } = demand;
        let short = u32::try_from(waiting.saturating_sub(u64::from(held))).unwrap_or(u32::MAX);
        let left = u64::from(held).saturating_sub(waiting);
        let missing = target.saturating_sub(u32::try_from(left).unwrap_or(u32::MAX));
        let ahead = if short > 0 || left <= u64::from(target / 2) { missing } else { 0 };
        let room = rules.max_held().saturating_sub(held);
        let is_alone = first > rules.max_held();
        let want = if is_alone { first } else { short.saturating_add(ahead).min(room) };
        let min = if is_alone { first } else { first.saturating_sub(held).clamp(1, want.max(1)) };
        // Without a call in line and without cells to hold, only a debt or a return needs the store.
        let is_needed = want > 0 || self.debt > 0 || self.away.is_some();
        is_needed.then_some(LeaseRefill { want, min, debt: self.debt })
    }

    /// Whether enough calls come to hold cells for them.
    fn is_busy(&self, now: Nanos, rules: &LeaseRules) -> bool {
        rules.kind() == LeaseKind::Leased && self.cells_ahead(now, rules) >= 2.0
    }

    fn cells_ahead(&self, now: Nanos, rules: &LeaseRules) -> f64 {
        self.admissions.cells_in(rules.horizon(), now, average_over(rules))
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::new()
    }
}

fn average_over(rules: &LeaseRules) -> Duration {
    rules.horizon() * 4
}

fn after(time: Nanos, duration: Duration) -> Nanos {
    Nanos::new(time.get().saturating_add(Nanos::from(duration).get()))
}

const FIRST_TARGET: u32 = 2;
