use crate::no_load::NoLoad;
use crate::span::Span;
use crate::{Nanos, Sample, near_limit};

/// Gathers samples into rounds, for one call says little: a law moves at the end of a round.
///
/// A round holds at least twice as many calls as may be in flight, so by [Little's law][little] it
/// lasts two round trips or more, and a law sees what its last step did before it takes the next one.
///
/// [little]: https://en.wikipedia.org/wiki/Little%27s_law
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    least: u32,
    tally: Tally,
    no_load: NoLoad,
    /// When a round ended for its drops. What had started by then fell with it, and is not held against
    /// the new limit.
    fell: Nanos,
}

impl Rounds {
    pub(crate) const fn of(samples: u32) -> Self {
        let least = if samples > MIN_ROUND { samples } else { MIN_ROUND };
        Self { least, tally: Tally::EMPTY, no_load: NoLoad::new(), fell: Nanos::new(0) }
    }

    /// Every sample is a round, and nothing is probed: what a law does without any of this.
    pub(crate) const fn single() -> Self {
        Self { least: 1, ..Self::of(0) }
    }

    pub(crate) const fn is_single(&self) -> bool {
        self.least == 1
    }

    /// The limit in force where the law's own is this: lower while a probe runs.
    #[inline]
    pub(crate) fn cap(&self, span: Span, limit: u32) -> u32 {
        self.no_load.cap(span, limit)
    }

    /// The learned time of a call that waits for nobody, in nanoseconds.
    pub(crate) const fn no_load(&self) -> Option<f64> {
        self.no_load.rtt()
    }

    /// Counts a sample under the law's own limit, and returns the round that it ends.
    #[inline]
    pub(crate) fn learn(&mut self, span: Span, limit: u32, sample: Sample) -> Option<Round> {
        let cap = self.cap(span, limit);
        let told = if sample.dropped {
            sample.started >= self.fell
        } else {
            near_limit(sample.in_flight, cap) || self.is_single()
        };
        if !told || !self.no_load.counts(sample) {
            return None;
        }
        self.tally.add(sample);
        let size = if self.is_single() { 1 } else { self.least.max(cap.saturating_mul(2)) };
        if self.tally.ends(size) { self.end(span, limit, sample.ended()) } else { None }
    }

    #[cold]
    fn end(&mut self, span: Span, limit: u32, now: Nanos) -> Option<Round> {
        let tally = std::mem::replace(&mut self.tally, Tally::EMPTY);
        let mut round = Round {
            rtt: tally.mean(),
            no_load: self.no_load.rtt(),
            in_flight: tally.in_flight,
            dropped: tally.dropped(),
        };
        if round.dropped {
            self.fell = now;
            self.no_load.give_up();
            return Some(round);
        }
        if self.is_single() {
            return Some(round);
        }
        let probed = self.no_load.round(span, limit, round, now);
        round.no_load = self.no_load.rtt();
        (!probed).then_some(round)
    }
}

/// What a law sees at the end of a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// The mean, in nanoseconds and at least one, of the calls that were answered.
    pub(crate) rtt: f64,
    /// What a call takes that waits for nobody, where that is known.
    pub(crate) no_load: Option<f64>,
    /// The most calls in flight.
    pub(crate) in_flight: u32,
    /// Whether so many calls were dropped that the mean does not matter.
    pub(crate) dropped: bool,
}

#[derive(Clone, Copy, Debug)]
struct Tally {
    answered: u32,
    drops: u32,
    in_flight: u32,
    nanos: u64,
}

impl Tally {
    const EMPTY: Self = Self { answered: 0, drops: 0, in_flight: 0, nanos: 0 };

    #[inline]
    fn add(&mut self, sample: Sample) {
        self.in_flight = self.in_flight.max(sample.in_flight);
        // What a dropped call took says when it was dropped, not how fast the service is: calls that were shed
        // at once would look like the fastest of all.
        if sample.dropped {
            self.drops += 1;
        } else {
            self.answered += 1;
            self.nanos = self.nanos.saturating_add(sample.nanos());
        }
    }

    /// Whether this is a round of that size, or holds the drops that decide one.
    #[inline]
    fn ends(&self, size: u32) -> bool {
        self.answered.saturating_add(self.drops) >= size || self.drops > size / DROPS_IN
    }

    fn dropped(&self) -> bool {
        self.drops > self.answered.saturating_add(self.drops) / DROPS_IN
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean needs no more than 53 bits")]
    fn mean(&self) -> f64 {
        (self.nanos as f64 / f64::from(self.answered.max(1))).max(1.0)
    }
}

/// A mean of ten exponential times is off by a third; laws need better, and their options do not go below.
const MIN_ROUND: u32 = 10;

/// More than one call dropped in this many is a sign of too many; a few fail at any load.
const DROPS_IN: u32 = 20;
