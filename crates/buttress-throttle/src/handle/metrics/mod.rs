use buttress_core::{Criticality, Measure, Metric, Reading};

mod store;

use crate::{ThrottleHandle, ThrottleSnapshot, limit::LimitTemplate};

/// The [metrics](crate#metrics) of the layer.
impl<L: LimitTemplate + Send + Sync + 'static> Measure for ThrottleHandle<L> {
    fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
        [&ADMITTED, &REJECTED, &SPARE_REFUSED, &ABANDONED, &QUEUED, &IN_FLIGHT, &LIMIT, &KEYS]
            .into_iter()
            .chain(store::METRICS)
            .for_each(define);
    }

    fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
        let snapshot = self.snapshot();
        let ThrottleSnapshot { admitted, rejected, spare_refused, abandoned, .. } = snapshot;
        let instance = self.settings.origin.name();
        for (metric, counts) in [(&ADMITTED, admitted), (&REJECTED, rejected)] {
            for (criticality, count) in Criticality::ALL.into_iter().zip(counts) {
                let count = Reading::count(metric, instance, count);
                read(count.labelled(criticality.as_str()));
            }
        }
        read(Reading::count(&SPARE_REFUSED, instance, spare_refused));
        read(Reading::count(&ABANDONED, instance, abandoned));
        read(Reading::number(&QUEUED, instance, snapshot.queued as u64));
        for (metric, number) in [(&IN_FLIGHT, snapshot.in_flight), (&LIMIT, snapshot.limit)] {
            if let Some(number) = number {
                read(Reading::gauge(metric, instance, number.into()));
            }
        }
        if let Some(fleet) = self.limit.fleet() {
            store::measure(&fleet, instance, read);
        }
        if let Some(keys) = self.limit.keys() {
            read(Reading::number(&KEYS, instance, keys as u64));
        }
    }
}

static ADMITTED: Metric =
    Metric::counter("buttress.throttle.admitted", "{call}", "Calls that the limit admitted.")
        .split_by("criticality");

static REJECTED: Metric = Metric::counter(
    "buttress.throttle.rejected",
    "{call}",
    "Calls that the layer rejected, or would have rejected if it only observes.",
)
.split_by("criticality");

static SPARE_REFUSED: Metric = Metric::counter(
    "buttress.throttle.spare_refused",
    "{call}",
    "Spare calls, such as hedges, that the layer refused, or would have if it only observes.",
);

static ABANDONED: Metric = Metric::counter(
    "buttress.throttle.abandoned",
    "{call}",
    "Calls that their caller dropped while they waited in the queue.",
);

static QUEUED: Metric =
    Metric::gauge("buttress.throttle.queued", "{call}", "Calls that wait, of all keys together.");

static IN_FLIGHT: Metric = Metric::gauge(
    "buttress.throttle.in_flight",
    "{call}",
    "Calls that hold a permit, of all keys together.",
);

static LIMIT: Metric =
    Metric::gauge("buttress.throttle.limit", "{call}", "Permits that there may be.");

static KEYS: Metric = Metric::gauge("buttress.throttle.keys", "{key}", "Keys in use.");
