use std::time::Duration;

use super::denial::{Denial, LastGrant};
use super::{Lease, LeaseRules, after};
use crate::rate::share;
use crate::{Gcra, Nanos, Rates};

impl Lease {
    /// Ends a request that failed: the key is away from the store. Returns whether the key was with
    /// the store before.
    ///
    /// The store is asked again after 100 ms, or after `retry_after` if that is longer. More than a minute
    /// counts as a minute. A debt stays until a request succeeds that carries it.
    pub fn fail(&mut self, now: Nanos, retry_after: Option<Duration>) -> bool {
        self.in_flight = None;
        let pause = retry_after.unwrap_or_default().clamp(PAUSE, LONGEST_PAUSE);
        // No denial of the store counts while the store is away.
        self.denial = Denial::NONE;
        self.away.replace(after(now, pause)).is_none()
    }

    /// Returns whether the last request failed, so that calls are decided without the store.
    pub const fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Counts cells that were admitted without the store.
    pub fn owe(&mut self, cells: u64) {
        self.debt = self.debt.saturating_add(cells);
    }

    /// Returns the cells that were admitted without the store, and that the store does not know of.
    pub const fn debt(&self) -> u64 {
        self.debt
    }

    /// Returns whether the bucket of this rate must exist in the store when the next request
    /// arrives: it was not full, and cannot be full by then.
    pub fn expects(&self, now: Nanos, rules: &LeaseRules, rate: usize) -> bool {
        let full_at = self.last.as_ref().and_then(|last| last.full_at.get(rate));
        full_at.is_some_and(|full_at| after(now, rules.reply_time()) < *full_at)
    }

    /// Returns the limit of this replica while the key is away: [`Rate::share`] of each rate.
    ///
    /// The share begins with this replica's part of the cells that the last grant left in the store,
    /// and that came since. Without a grant, it begins with its whole burst.
    ///
    /// [`Rate::share`]: crate::Rate::share
    pub fn share(&self, now: Nanos, rules: &LeaseRules) -> Rates {
        let laws = rules.rates().iter().enumerate().map(|(index, rate)| {
            let share = rate.rate().share(rules.replicas());
            let Some((last, full_at)) = self.last_of(index) else {
                return Gcra::new(share);
            };
            // Counted from the reply: the store may have counted that late.
            let full_at = full_at.get().saturating_add(last.trip);
            let left = share::left(*rate, full_at.saturating_sub(now.get()));
            Gcra::full_after(share, now, share::full_in(share, left))
        });
        Rates::of(laws)
    }

    /// Adopts other rates. What the store knows of the former rates counts in cells.
    ///
    /// Cells that are held stay good. A denial by the former rates ends.
    pub fn set_rules(&mut self, now: Nanos, before: &LeaseRules, after: &LeaseRules) {
        self.denial = Denial::NONE;
        if let Some(request) = &mut self.in_flight {
            request.is_outdated = true;
        }
        let Some(last) = &mut self.last else { return };
        if before.rates().len() != after.rates().len() {
            self.last = None;
            return;
        }
        let rates = before.rates().iter().zip(after.rates());
        for (full_at, (before, after)) in last.full_at.iter_mut().zip(rates) {
            let backlog = full_at.get().saturating_sub(now.get());
            let rescaled = share::rescale(backlog, before.interval(), after.interval());
            // The earlier of both: another replica may still ask by the former rate.
            *full_at = Nanos::new(now.get().saturating_add(backlog.min(rescaled)));
        }
        self.target = self.target.min(after.max_held());
    }

    pub(super) fn last_of(&self, rate: usize) -> Option<(&LastGrant, Nanos)> {
        let last = self.last.as_ref()?;
        Some((last, *last.full_at.get(rate)?))
    }
}

const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
