use buttress_core::{Measure, Metric, Reading};

use crate::{DeadlineHandle, DeadlineSnapshot};

/// The [metrics](crate#metrics) of the layer.
impl Measure for DeadlineHandle {
    fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
        [&CALLS, &EXPIRED, &SERVED_LATE, &EXCEEDED, &REJECTED, &IN_FLIGHT]
            .into_iter()
            .for_each(define);
    }

    fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
        let DeadlineSnapshot { calls, expired, served_late, exceeded, rejected, in_flight } =
            self.snapshot();
        let instance = self.origin.name();
        read(Reading::count(&CALLS, instance, calls));
        read(Reading::count(&EXPIRED, instance, expired));
        read(Reading::count(&SERVED_LATE, instance, served_late));
        read(Reading::count(&EXCEEDED, instance, exceeded));
        read(Reading::count(&REJECTED, instance, rejected));
        read(Reading::number(&IN_FLIGHT, instance, in_flight as u64));
    }
}

static CALLS: Metric =
    Metric::counter("buttress.deadline.calls", "{call}", "Calls, rejected calls included.");

static EXPIRED: Metric = Metric::counter(
    "buttress.deadline.expired",
    "{call}",
    "Calls that arrived after their deadline, or with no time left to announce.",
);

static SERVED_LATE: Metric = Metric::counter(
    "buttress.deadline.served_late",
    "{call}",
    "Expired calls that the limit of rejections let through.",
);

static EXCEEDED: Metric = Metric::counter(
    "buttress.deadline.exceeded",
    "{call}",
    "Calls and bodies whose deadline passed while they ran or waited for readiness.",
);

static REJECTED: Metric = Metric::counter(
    "buttress.deadline.rejected",
    "{call}",
    "Calls that the layer ended, or would have ended if it only observes.",
);

static IN_FLIGHT: Metric = Metric::gauge(
    "buttress.deadline.in_flight",
    "{call}",
    "Calls and bodies that are pending under the timers of the layer.",
);
