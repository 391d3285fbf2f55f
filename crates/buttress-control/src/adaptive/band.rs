use crate::Slack;

/// How many calls may wait inside the service at one limit, and how far the limit moves if it is not so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Band {
    limit: u32,
    pub(crate) step: u32,
    /// With fewer waiting the limit grows,
    pub(crate) alpha: u32,
    /// with more it shrinks.
    pub(crate) beta: u32,
    /// The least it shrinks by for drops.
    dropped: u32,
    /// Which part of what is too much it gives up at once: 0 for none, 2 for a half.
    excess: u32,
}

impl Band {
    /// As it is for single calls: the thresholds by themselves, and a step at a time.
    pub(crate) fn of_calls(limit: u32, alpha: Slack, beta: Slack) -> Self {
        let (alpha, beta) = (alpha.at(limit), beta.at(limit));
        Self { limit, step: STEP.at(limit), alpha, beta, dropped: 0, excess: 0 }
    }

    /// As it is for rounds. Their mean errs, and the number of calls that wait by that share of the limit: so the
    /// thresholds are at least a tenth and a fifth of it. And as rounds are few, their steps are larger.
    pub(crate) fn of_rounds(limit: u32, alpha: Slack, beta: Slack) -> Self {
        let band = Self::of_calls(limit, alpha, beta);
        let (alpha, beta) = (band.alpha.max(limit / 10), band.beta.max(limit / 5));
        Self { alpha, beta, dropped: limit / 10, excess: 2, ..band }
    }

    /// By Little's law, how many of the calls in flight wait, rounded up; none if they are faster than the
    /// baseline.
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

    /// Down from so many that wait, more than [`Band::beta`] or not.
    pub(crate) fn down(&self, waiting: u32) -> u32 {
        let excess = waiting.saturating_sub(self.beta).checked_div(self.excess).unwrap_or(0);
        self.limit.saturating_sub(self.step.max(excess))
    }
}

const STEP: Slack = Slack::log10(1);
