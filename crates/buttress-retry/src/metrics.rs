use buttress_core::{Measure, Metric, Reading};

use crate::{RetryHandle, RetrySnapshot, StopReason};

/// The [metrics](crate#metrics) of the layer.
impl Measure for RetryHandle {
    fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
        [&CALLS, &RETRIES, &STOPPED, &BUDGET].into_iter().for_each(define);
    }

    fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
        let RetrySnapshot { calls, retries, stopped, budget } = self.snapshot();
        let instance = self.origin.name();
        read(Reading::count(&CALLS, instance, calls));
        read(Reading::count(&RETRIES, instance, retries));
        for reason in StopReason::ALL {
            let count = Reading::count(&STOPPED, instance, stopped.get(*reason));
            read(count.labelled(reason.as_str()));
        }
        if let Some(budget) = budget {
            read(Reading::number(&BUDGET, instance, budget));
        }
    }
}

static CALLS: Metric = Metric::counter(
    "buttress.retry.calls",
    "{call}",
    "Calls. Their further attempts are not among them.",
);

static RETRIES: Metric = Metric::counter(
    "buttress.retry.retries",
    "{attempt}",
    "Attempts after the first, or those that would be scheduled if the layer only observes.",
);

static STOPPED: Metric =
    Metric::counter("buttress.retry.stopped", "{call}", "Failed calls that were not repeated.")
        .split_by("reason");

static BUDGET: Metric = Metric::gauge(
    "buttress.retry.budget",
    "{token}",
    "Balance of the budget that pays for the retries.",
);
