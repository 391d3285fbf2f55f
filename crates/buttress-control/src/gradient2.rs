use crate::adapt::Sample;
use crate::average::Average;
use crate::options::limit_options;
use crate::rounds::{Round, Rounds};
use crate::span::Span;
use crate::{Adapt, Ratio, Slack, near_limit};

/// Scales the limit by how much slower calls have become.
#[derive(Clone, Debug)]
pub struct Gradient2 {
    span: Span,
    rounds: Rounds,
    limit: f64,
    tolerance: Ratio,
    queue: Slack,
    smoothing: Ratio,
    /// The time of a call over the last 600, where each call is a round.
    long: Average,
}

impl Gradient2 {
    limit_options!();

    /// How many times the time without load calls may take before the limit shrinks.
    ///
    /// Less than 100 % counts as 100 %.
    pub const fn tolerance(mut self, tolerance: Ratio) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// How many calls the limit may grow by while calls are not slow, 4 by default.
    pub const fn queue(mut self, queue: Slack) -> Self {
        self.queue = queue;
        self
    }

    fn step(&mut self, round: Round) {
        let no_load = self.measured(round);
        let limit = self.whole();
        if !round.dropped && !near_limit(round.in_flight, limit) {
            return;
        }
        let target = if round.dropped {
            self.limit * STEEPEST
        } else {
            let gradient = self.tolerance.as_f64().max(1.0) * no_load / round.rtt;
            self.limit * gradient.clamp(STEEPEST, 1.0) + f64::from(self.queue.at(limit))
        };
        let smoothing = self.smoothing.as_f64().min(1.0);
        let limit = self.limit * (1.0 - smoothing) + target * smoothing;
        self.limit = limit.clamp(f64::from(self.span.floor()), f64::from(self.span.keep(u32::MAX)));
    }

    fn measured(&mut self, round: Round) -> f64 {
        if !self.rounds.is_single() {
            return round.no_load.unwrap_or(round.rtt);
        }
        let long = self.long.add(round.rtt);
        if long / round.rtt > 2.0 {
            self.long.scale(0.95);
        }
        long
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a limit lies between 1 and a u32"
    )]
    fn whole(&self) -> u32 {
        self.limit as u32
    }
}

impl Adapt for Gradient2 {
    #[inline]
    fn limit(&self) -> u32 {
        self.rounds.cap(self.span, self.whole())
    }

    #[inline]
    fn learn(&mut self, sample: Sample) -> u32 {
        if let Some(round) = self.rounds.learn(self.span, self.whole(), sample) {
            self.step(round);
        }
        self.limit()
    }
}

impl Default for Gradient2 {
    fn default() -> Self {
        Self {
            span: Span::DEFAULT,
            rounds: Rounds::of(100),
            limit: f64::from(Span::DEFAULT.initial),
            tolerance: Ratio::percent(125),
            queue: Slack::constant(4),
            smoothing: Ratio::percent(20),
            long: Average::over(600),
        }
    }
}

const STEEPEST: f64 = 0.5;
