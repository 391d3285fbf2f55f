use std::time::Duration;

use crate::adapt::Sample;
use crate::options::limit_options;
use crate::ratio::MILLION;
use crate::rounds::{Round, Rounds};
use crate::span::Span;
use crate::{Adapt, Ratio, near_limit};

/// One call more after a good round, a tenth fewer after a bad one: additive increase, multiplicative decrease.
#[derive(Clone, Debug)]
pub struct Aimd {
    span: Span,
    rounds: Rounds,
    limit: u32,
    backoff: Ratio,
    tolerance: Ratio,
    timeout: Duration,
}

impl Aimd {
    limit_options!();

    /// What is left of the limit after a bad round, 90 % by default.
    ///
    /// Less than 50 % counts as 50 %, more than 100 % as 100 %.
    pub const fn backoff(mut self, backoff: Ratio) -> Self {
        self.backoff = backoff;
        self
    }

    /// How many times the time without load a round may take on average and still be good, 150 % by
    /// default.
    pub const fn tolerance(mut self, tolerance: Ratio) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// A call that takes longer counts as dropped; by default none does.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn step(&mut self, round: Round) {
        let slow = round.no_load.is_some_and(|rtt| round.rtt > rtt * self.tolerance.as_f64());
        if round.dropped || slow {
            self.limit = self.span.keep(self.backed_off());
        } else if near_limit(round.in_flight, self.limit) {
            self.limit = self.span.keep(self.limit.saturating_add(1));
        }
    }

    fn backed_off(&self) -> u32 {
        let parts = self.backoff.parts_per_million().clamp(MILLION / 2, MILLION);
        let left = u64::from(self.limit) * u64::from(parts) / u64::from(MILLION);
        u32::try_from(left).unwrap_or(u32::MAX)
    }
}

impl Adapt for Aimd {
    #[inline]
    fn limit(&self) -> u32 {
        self.rounds.cap(self.span, self.limit)
    }

    #[inline]
    fn learn(&mut self, mut sample: Sample) -> u32 {
        sample.dropped |= sample.rtt > self.timeout;
        if let Some(round) = self.rounds.learn(self.span, self.limit, sample) {
            self.step(round);
        }
        self.limit()
    }
}

impl Default for Aimd {
    fn default() -> Self {
        Self {
            span: Span::DEFAULT,
            rounds: Rounds::of(100),
            limit: Span::DEFAULT.initial,
            backoff: Ratio::percent(90),
            tolerance: Ratio::percent(150),
            timeout: Duration::MAX,
        }
    }
}
