use buttress_core::{Measure, Metric, Reading};

use crate::{FallbackHandle, FallbackSnapshot};

/// The [metrics](crate#metrics) of the layer.
impl Measure for FallbackHandle {
    fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
        [&CALLS, &ANSWERED, &FAILED, &FULL, &IN_FLIGHT].into_iter().for_each(define);
    }

    fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
        let FallbackSnapshot { calls, answered, failed, full, in_flight } = self.snapshot();
        let instance = self.origin.name();
        read(Reading::count(&CALLS, instance, calls));
        read(Reading::count(&ANSWERED, instance, answered));
        read(Reading::count(&FAILED, instance, failed));
        read(Reading::count(&FULL, instance, full));
        read(Reading::gauge(&IN_FLIGHT, instance, in_flight.into()));
    }
}

static CALLS: Metric = Metric::counter("buttress.fallback.calls", "{call}", "Calls.");

static ANSWERED: Metric = Metric::counter(
    "buttress.fallback.answered",
    "{call}",
    "Calls that the fallback answered, or would have answered if the layer only observes.",
);

static FAILED: Metric = Metric::counter(
    "buttress.fallback.failed",
    "{call}",
    "Calls that the alternative service could not answer.",
);

static FULL: Metric = Metric::counter(
    "buttress.fallback.full",
    "{call}",
    "Calls that found too many calls of the alternative service running.",
);

static IN_FLIGHT: Metric = Metric::gauge(
    "buttress.fallback.in_flight",
    "{call}",
    "Calls that wait for, or run on, the alternative service.",
);
