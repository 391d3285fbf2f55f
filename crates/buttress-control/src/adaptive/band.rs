use crate::Slack;

/// The thresholds of waiting calls at a limit, and the steps of the limit outside of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Band {
    limit: u32,
    pub(crate) step: u32,
    /// If fewer calls wait, the limit grows.
    pub(crate) alpha: u32,
    /// If more calls wait, the limit shrinks.
    pub(crate) beta: u32,
    /// The minimum decrease after drops.
    dropped: u32,
    /// The divisor of the excess that a decrease gives up at once: 0 for none, 2 for a half.
    excess: u32,
}

impl Band {
    /// The band for single calls: the thresholds themselves, and a step at a time.
    pub(crate) fn of_calls(limit: u32, alpha: Slack, beta: Slack) -> Self {
        let (alpha, beta) = (alpha.at(limit), beta.at(limit));
        Self { limit, step: STEP.at(limit), alpha, beta, dropped: 0, excess: 0 }
    }

    /// The band for rounds. The mean of a round errs, and the number of waiting calls errs by that
    /// share of the limit. So the thresholds are at least a tenth and a fifth of the limit. Because
    /// rounds are rare, the steps are larger.
    pub(crate) fn of_rounds(limit: u32, alpha: Slack, beta: Slack) -> Self {
        let band = Self::of_calls(limit, alpha, beta);
        let (alpha, beta) = (band.alpha.max(limit / 10), band.beta.max(limit / 5));
        Self { alpha, beta, dropped: limit / 10, excess: 2, ..band }
    }

    /// The number of calls in flight that wait, by Little's law, rounded up. 0 if the calls are
    /// faster than the baseline.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float cast saturates, and takes what is below zero to zero"
    )]
    pub(crate) fn waiting(&self, baseline: f64, rtt: f64) -> u32 {
        (f64::from(self.limit) * (1.0 - baseline / rtt)).ceil() as u32
    }

    pub(crate) const fn up(&self) -> u32 {
        self.limit.saturating_add(self.step)
    }

    pub(crate) fn after_drops(&self) -> u32 {
        self.limit.saturating_sub(self.step.max(self.dropped))
    }

    /// The limit after `waiting` calls were found waiting, above [`Band::beta`] or not.
    pub(crate) fn down(&self, waiting: u32) -> u32 {
        let excess = waiting.saturating_sub(self.beta).checked_div(self.excess).unwrap_or(0);
        self.limit.saturating_sub(self.step.max(excess))
    }
}

const STEP: Slack = Slack::log10(1);
