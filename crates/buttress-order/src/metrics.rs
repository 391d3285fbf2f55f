use std::hash::Hash;

use buttress_core::{Measure, Metric, Reading};

use crate::{OrderHandle, OrderSnapshot};

/// The [metrics](crate#metrics) of the layer.
impl<K: Hash + Eq + Send + Sync + 'static> Measure for OrderHandle<K> {
    fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
        [&CALLS, &REJECTED, &SUPERSEDED, &FULL, &EXPIRED, &SPARE_REFUSED, &QUEUED, &KEYS]
            .into_iter()
            .for_each(define);
    }

    fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
        let OrderSnapshot { calls, rejected, superseded, full, expired, spare_refused, queued } =
            self.snapshot();
        let instance = self.origin.name();
        read(Reading::count(&CALLS, instance, calls));
        read(Reading::count(&REJECTED, instance, rejected));
        read(Reading::count(&SUPERSEDED, instance, superseded));
        read(Reading::count(&FULL, instance, full));
        read(Reading::count(&EXPIRED, instance, expired));
        read(Reading::count(&SPARE_REFUSED, instance, spare_refused));
        read(Reading::number(&QUEUED, instance, queued as u64));
        read(Reading::number(&KEYS, instance, self.keys() as u64));
    }
}

static CALLS: Metric = Metric::counter(
    "buttress.order.calls",
    "{call}",
    "Calls, rejected calls and calls without a key included.",
);

static REJECTED: Metric =
    Metric::counter("buttress.order.rejected", "{call}", "Calls and bodies that the layer ended.");

static SUPERSEDED: Metric = Metric::counter(
    "buttress.order.superseded",
    "{call}",
    "Calls and bodies that a later call of their key ended.",
);

static FULL: Metric = Metric::counter(
    "buttress.order.full",
    "{call}",
    "Calls that found the queue of their key full.",
);

static EXPIRED: Metric = Metric::counter(
    "buttress.order.expired",
    "{call}",
    "Calls whose deadline passed before they began.",
);

static SPARE_REFUSED: Metric = Metric::counter(
    "buttress.order.spare_refused",
    "{call}",
    "Spare calls, such as hedges, that were refused because their key had a call.",
);

static QUEUED: Metric = Metric::gauge(
    "buttress.order.queued",
    "{call}",
    "Calls that wait for a turn, of all keys together.",
);

static KEYS: Metric =
    Metric::gauge("buttress.order.keys", "{key}", "Keys with a running or a waiting call.");
