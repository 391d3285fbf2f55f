mod baseline;
mod schedule;

use self::baseline::Baseline;
pub(crate) use self::baseline::Round;
use super::bounds::Bounds;
use crate::{Nanos, Sample, near_limit};

/// Groups samples into rounds, because a single call says little. A law moves at the end of a
/// round.
///
/// A round holds at least twice as many calls as may be in flight. By [Little's law][little] a
/// round then lasts two round trips or more, and a law sees the effect of its last step before the
/// next.
///
/// [little]: https://en.wikipedia.org/wiki/Little%27s_law
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    least: u32,
    totals: RoundTotals,
    baseline: Baseline,
    /// When a round last ended because of drops. Drops of calls that started before are not held
    /// against the new limit.
    last_drop_round: Nanos,
}

impl Rounds {
    pub(crate) const DEFAULT: Self = Self {
        least: 100,
        totals: RoundTotals::EMPTY,
        baseline: Baseline::UNKNOWN,
        last_drop_round: Nanos::new(0),
    };

    /// Rounds for a client of a service that has other clients.
    pub(crate) const SHARED: Self = Self { baseline: Baseline::SHARED, ..Self::DEFAULT };

    pub(crate) const fn set_round_size(&mut self, calls: u32) {
        self.least = if calls > SHORTEST { calls } else { SHORTEST };
    }

    /// Makes every sample a round, without probes, as the original laws do.
    pub(crate) const fn use_single_samples(&mut self) {
        self.least = 1;
    }

    #[inline]
    pub(crate) const fn uses_single_samples(&self) -> bool {
        self.least == 1
    }

    /// The limit in force for the law's own `limit`: lower while a probe runs.
    #[inline]
    pub(crate) fn cap(&self, bounds: Bounds, limit: u32) -> u32 {
        self.baseline.cap(bounds, limit)
    }

    /// The time of a call that waits for no other, in nanoseconds, if known.
    pub(crate) const fn baseline(&self) -> Option<f64> {
        self.baseline.rtt()
    }

    /// The baseline, unless the limit is halved to measure the baseline.
    #[inline]
    pub(crate) fn settled(&self, bounds: Bounds, limit: u32) -> Option<f64> {
        if self.cap(bounds, limit) == limit { self.baseline() } else { None }
    }

    pub(crate) const fn know(&mut self, baseline: f64) {
        self.baseline.know(baseline);
    }

    /// The limit after a round that shows that the limit may return to where it was before the
    /// service became slower.
    pub(crate) fn regrown(&self, limit: u32, round: Round) -> Option<u32> {
        self.baseline.regrown(limit, round)
    }

    /// Whether the next sample begins a round.
    #[inline]
    pub(crate) const fn are_between(&self) -> bool {
        self.totals.calls() == 0
    }

    /// Counts a sample under the law's own limit, and returns the round that the sample ends.
    #[inline]
    pub(crate) fn learn(&mut self, bounds: Bounds, limit: u32, sample: Sample) -> Option<Round> {
        let cap = self.cap(bounds, limit);
        let tells = if sample.dropped {
            sample.started >= self.last_drop_round
        } else {
            self.uses_single_samples() || near_limit(sample.in_flight, cap)
        };
        if !tells || !self.baseline.admits(sample) {
            return None;
        }
        self.totals.add(sample);
        let size =
            if self.uses_single_samples() { 1 } else { self.least.max(cap.saturating_mul(2)) };
        if self.totals.is_round_of(size) { self.end(bounds, limit, sample.ended()) } else { None }
    }

    #[cold]
    fn end(&mut self, bounds: Bounds, limit: u32, now: Nanos) -> Option<Round> {
        let round = std::mem::replace(&mut self.totals, RoundTotals::EMPTY).round();
        if round.dropped {
            self.last_drop_round = now;
            self.baseline.give_up(now);
        } else if !self.uses_single_samples() && self.baseline.learn(bounds, limit, round, now) {
            return None;
        }
        Some(round)
    }
}

#[derive(Clone, Copy, Debug)]
struct RoundTotals {
    answered: u32,
    drops: u32,
    in_flight: u32,
    nanos: u64,
}

impl RoundTotals {
    const EMPTY: Self = Self { answered: 0, drops: 0, in_flight: 0, nanos: 0 };

    #[inline]
    fn add(&mut self, sample: Sample) {
        self.in_flight = self.in_flight.max(sample.in_flight);
        // The time of a dropped call says when the call was dropped, not how fast the service is.
        // Calls that are shed at once would look like the fastest of all.
        if sample.dropped {
            self.drops = self.drops.saturating_add(1);
        } else {
            self.answered = self.answered.saturating_add(1);
            self.nanos = self.nanos.saturating_add(sample.nanos());
        }
    }

    #[inline]
    const fn calls(&self) -> u32 {
        self.answered.saturating_add(self.drops)
    }

    /// Whether this is a round of that size, or has enough drops to end one.
    #[inline]
    const fn is_round_of(&self, size: u32) -> bool {
        self.calls() >= size || self.drops > size / DROPS_IN
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean needs no more than 53 bits")]
    fn round(self) -> Round {
        Round {
            rtt: (self.nanos as f64 / f64::from(self.answered.max(1))).max(1.0),
            in_flight: self.in_flight,
            dropped: self.drops > self.calls() / DROPS_IN,
        }
    }
}

/// The smallest round. The mean of ten exponential times already errs by a third.
const SHORTEST: u32 = 10;

/// If more than one call in this many is dropped, the load is too high. A few calls fail at any
/// load.
const DROPS_IN: u32 = 20;
