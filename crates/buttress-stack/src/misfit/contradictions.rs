use std::time::Duration;

use buttress_control::Ratio;

use super::{Facts, Misfit, fleet::rate_fleet};
use crate::config::{BackoffConfig, ClientConfig, Setting};

/// The settings of a whole stack that contradict each other.
pub(crate) fn contradictions(config: &ClientConfig, facts: &Facts) -> Vec<Misfit> {
    let mut check = Check { config, facts, found: Vec::new() };
    check.slow_rule();
    check.all();
    check.found
}

/// The settings of a file that contradict each other. A setting that is missing contradicts nothing.
#[cfg(feature = "serde")]
pub(crate) fn contradictions_within(config: &ClientConfig) -> Vec<Misfit> {
    let facts = Facts::default();
    let mut check = Check { config, facts: &facts, found: Vec::new() };
    check.all();
    check.found
}

struct Check<'a> {
    config: &'a ClientConfig,
    facts: &'a Facts,
    found: Vec<Misfit>,
}

impl Check<'_> {
    fn all(&mut self) {
        self.deadlines();
        self.breaker();
        self.backoffs();
        self.hedge();
        self.queues();
        self.found.extend(rate_fleet(&self.config.rate, self.facts.fleet.as_ref()));
    }

    fn deadlines(&mut self) {
        if let (Some(attempt), Some(whole)) = (self.attempt(), self.whole())
            && attempt > whole
        {
            let remedy = format!(
                "An attempt may take {attempt:?}, but the whole call ends after {whole:?}. \
                 Shorten attempt.timeout, or lengthen deadline.timeout."
            );
            self.find(&["attempt.timeout", "deadline.timeout"], remedy);
        }
    }

    fn breaker(&mut self) {
        let breaker = &self.config.breaker;
        if let (Some(probes), Some(needed)) = (breaker.probes, breaker.needed)
            && needed > probes
        {
            let remedy = format!(
                "{needed} of {probes} probes cannot succeed. Lower breaker.needed, or raise \
                 breaker.probes."
            );
            self.find(&["breaker.needed", "breaker.probes"], remedy);
        }
        if let Some(attempt) = self.attempt() {
            self.window_of(attempt);
            self.slow_calls_of(attempt);
            self.patience_with(attempt);
        }
    }

    fn slow_rule(&mut self) {
        let slow = &self.config.breaker.slow;
        if slow.limit.is_some() != slow.ratio.is_some() {
            let remedy = "The rule for slow calls needs both. Write the other too, or neither.";
            self.find(&["breaker.slow.limit", "breaker.slow.ratio"], remedy);
        }
    }

    fn window_of(&mut self, attempt: Duration) {
        let twice = attempt.saturating_mul(2);
        if let Some(window) = self.config.breaker.window.filter(|window| *window < twice) {
            let remedy = format!(
                "The breaker forgets after {window:?}, but an attempt that times out reports after \
                 {attempt:?}. Lengthen breaker.window to {twice:?}, or shorten attempt.timeout."
            );
            self.find(&["breaker.window", "attempt.timeout"], remedy);
        }
    }

    fn slow_calls_of(&mut self, attempt: Duration) {
        if let Some(limit) = self.config.breaker.slow.limit.filter(|limit| *limit >= attempt) {
            let remedy = format!(
                "A call is slow after {limit:?}, but an attempt ends after {attempt:?}. Shorten \
                 breaker.slow.limit, or leave out breaker.slow."
            );
            self.find(&["breaker.slow.limit", "attempt.timeout"], remedy);
        }
    }

    fn patience_with(&mut self, attempt: Duration) {
        let patience = self.config.breaker.probe_patience;
        if let Some(patience) = patience.filter(|patience| *patience < attempt) {
            let remedy = format!(
                "A probe fails after {patience:?}, but an attempt may take {attempt:?}. Lengthen \
                 breaker.probe_patience, or shorten attempt.timeout."
            );
            self.find(&["breaker.probe_patience", "attempt.timeout"], remedy);
        }
        if let Some(patience) = self.facts.patience.filter(|patience| *patience > attempt) {
            let remedy = format!(
                "The breaker's patience is {patience:?}, but an attempt ends after {attempt:?}. So \
                 no attempt that times out is a failure. Shorten the patience in the program, or \
                 lengthen attempt.timeout."
            );
            self.find(&["breaker", "attempt.timeout"], remedy);
        }
    }

    fn backoffs(&mut self) {
        let (retry, breaker) = (&self.config.retry.backoff, &self.config.breaker.open_for);
        self.backoff(retry, ["retry.backoff.base", "retry.backoff.max"]);
        self.backoff(breaker, ["breaker.open_for.base", "breaker.open_for.max"]);
        if let (Some(base), Some(whole)) = (retry.base, self.whole())
            && base >= whole
            && self.config.retry.attempts != Some(1)
        {
            let remedy = format!(
                "The first retry waits for up to {base:?}, but the whole call ends after \
                 {whole:?}. Shorten retry.backoff.base, or lengthen deadline.timeout."
            );
            self.find(&["retry.backoff.base", "deadline.timeout"], remedy);
        }
    }

    fn backoff(&mut self, backoff: &BackoffConfig, names: [&'static str; 2]) {
        if let (Some(base), Some(max)) = (backoff.base, backoff.max)
            && base > max
        {
            let [base_name, max_name] = names;
            let remedy = format!(
                "The first delay of {base:?} is longer than the longest of {max:?}. Shorten \
                 {base_name}, or lengthen {max_name}."
            );
            self.find(&names, remedy);
        }
    }

    fn hedge(&mut self) {
        let hedge = &self.config.hedge;
        if hedge.after.is_some() && (hedge.quantile.is_some() || hedge.least.is_some()) {
            let remedy = "The delay is fixed or learned. Write hedge.after alone, or hedge.quantile \
                          and hedge.least.";
            self.find(&["hedge.after", "hedge.quantile", "hedge.least"], remedy);
        }
        if !hedge.is_set() || hedge.at_most == Some(0) {
            return;
        }
        self.hedge_delay();
        if let (Some(own), Some(retry)) = (self.facts.hedge_ratio, self.facts.retry_ratio)
            && own > retry
        {
            let remedy = format!(
                "Hedges may be {} % of the calls, but the budget that they share with the retries \
                 allows {} %. Lower the hedge's budget in the program, or raise the other.",
                percent(own),
                percent(retry)
            );
            self.find(&["hedge", "retry"], remedy);
        }
    }

    /// The shortest delay of a hedge beside the time in which a hedge is of use.
    fn hedge_delay(&mut self) {
        let hedge = &self.config.hedge;
        let (delay, name) = match hedge.after {
            Some(after) => (after, "hedge.after"),
            None => (hedge.least.unwrap_or_default(), "hedge.least"),
        };
        let attempt = (self.attempt(), "attempt.timeout", "an attempt");
        let whole = (self.whole(), "deadline.timeout", "the whole call");
        let is_late = |end: Option<Duration>| end.is_some_and(|end| delay >= end);
        let Some((Some(end), end_name, what)) =
            [attempt, whole].into_iter().find(|(end, ..)| is_late(*end))
        else {
            return;
        };
        let remedy = format!(
            "A hedge is sent after {delay:?}, but {what} ends after {end:?}. Shorten {name}, or \
             lengthen {end_name}."
        );
        self.find(&[name, end_name], remedy);
    }

    fn queues(&mut self) {
        let (concurrency, rate) = (&self.config.concurrency, &self.config.rate);
        let waits = [
            (concurrency.max_wait, concurrency.queue, "concurrency.max_wait"),
            (rate.max_wait, rate.queue, "rate.max_wait"),
            (self.config.cache.fleet.max_wait, None, "cache.fleet.max_wait"),
        ];
        for (wait, queue, name) in waits {
            if let (Some(wait), Some(whole)) = (wait, self.whole())
                && wait >= whole
                && queue != Some(0)
            {
                let remedy = format!(
                    "A call may wait for {wait:?}, but the whole call ends after {whole:?}. \
                     Shorten {name}, or lengthen deadline.timeout."
                );
                self.find(&[name, "deadline.timeout"], remedy);
            }
        }
    }

    fn attempt(&self) -> Option<Duration> {
        self.config.attempt.timeout
    }

    fn whole(&self) -> Option<Duration> {
        self.config.deadline.timeout
    }

    fn find(&mut self, settings: &[&'static str], remedy: impl Into<String>) {
        self.found.push(Misfit::new(settings.iter().copied(), remedy));
    }
}

fn percent(ratio: Ratio) -> f64 {
    f64::from(ratio.parts_per_million()) / 10_000.0
}
