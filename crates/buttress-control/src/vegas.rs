use crate::adapt::Sample;
use crate::options::limit_options;
use crate::rounds::{Round, Rounds};
use crate::span::Span;
use crate::{Adapt, Slack, near_limit};

/// Keeps a few calls waiting inside the service, and no more: TCP Vegas.
#[derive(Clone, Debug)]
pub struct Vegas {
    span: Span,
    rounds: Rounds,
    limit: u32,
    alpha: Slack,
    beta: Slack,
    /// The least time of a call in nanoseconds, where each call is a round.
    least: Option<f64>,
}

impl Vegas {
    limit_options!();

    /// While fewer calls than this wait, the limit grows: by default 3 for each digit of it after the first.
    pub const fn alpha(mut self, alpha: Slack) -> Self {
        self.alpha = alpha;
        self
    }

    /// While more calls than this wait, the limit shrinks: by default 6 for each digit of it after the first.
    pub const fn beta(mut self, beta: Slack) -> Self {
        self.beta = beta;
        self
    }

    fn step(&mut self, round: Round) {
        let step = STEP.at(self.limit);
        let Some(no_load) = self.measured(round) else { return };
        let queue = self.queue(round.rtt, no_load);
        let limit = if round.dropped || queue > f64::from(self.beta.at(self.limit)) {
            self.limit.saturating_sub(step)
        } else if !near_limit(round.in_flight, self.limit) {
            self.limit
        } else if queue <= f64::from(step) {
            self.limit.saturating_add(self.beta.at(self.limit))
        } else if queue < f64::from(self.alpha.at(self.limit)) {
            self.limit.saturating_add(step)
        } else {
            self.limit
        };
        self.limit = self.span.keep(limit);
    }

    /// `limit · (1 − no load / rtt)`: by Little's law, how many of the calls in flight wait.
    fn queue(&self, rtt: f64, no_load: f64) -> f64 {
        (f64::from(self.limit) * (1.0 - no_load / rtt)).ceil()
    }

    fn measured(&mut self, round: Round) -> Option<f64> {
        if !self.rounds.is_single() {
            return round.no_load;
        }
        let known = self.least.filter(|least| *least <= round.rtt);
        self.least = known.or(Some(round.rtt));
        known
    }
}

impl Adapt for Vegas {
    #[inline]
    fn limit(&self) -> u32 {
        self.rounds.cap(self.span, self.limit)
    }

    #[inline]
    fn learn(&mut self, sample: Sample) -> u32 {
        if let Some(round) = self.rounds.learn(self.span, self.limit, sample) {
            self.step(round);
        }
        self.limit()
    }
}

impl Default for Vegas {
    fn default() -> Self {
        Self {
            span: Span::DEFAULT,
            rounds: Rounds::of(100),
            limit: Span::DEFAULT.initial,
            alpha: Slack::log10(3),
            beta: Slack::log10(6),
            least: None,
        }
    }
}

const STEP: Slack = Slack::log10(1);
