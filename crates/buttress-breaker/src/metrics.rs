use buttress_control::{CircuitCounts, CircuitState};
use buttress_core::{Measure, Metric, Reading};

use crate::{BreakerHandle, BreakerSnapshot, circuits::Circuits};

/// The [metrics](crate#metrics) of the layer.
impl<C: Circuits + Send + Sync + 'static> Measure for BreakerHandle<C> {
    fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
        [&STATE, &OPENED, &REJECTED, &SPARE_REFUSED, &WINDOW_CALLS, &WINDOW_FAILURES, &WINDOW_SLOW]
            .into_iter()
            .chain([&KEYS])
            .for_each(define);
    }

    fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
        // Before the states: it drops the keys that are no longer in use.
        let keys = self.circuits.key_count();
        let BreakerSnapshot { counts, rejected, spare_refused, opened, .. } = self.snapshot();
        let CircuitCounts { calls, failures, slow, .. } = counts;
        let instance = self.circuits.settings().origin.name();
        for (state, circuits) in CircuitState::ALL.iter().zip(self.circuits.states()) {
            read(Reading::number(&STATE, instance, circuits).labelled(state.as_str()));
        }
        read(Reading::count(&OPENED, instance, opened));
        read(Reading::count(&REJECTED, instance, rejected));
        read(Reading::count(&SPARE_REFUSED, instance, spare_refused));
        read(Reading::number(&WINDOW_CALLS, instance, calls));
        read(Reading::number(&WINDOW_FAILURES, instance, failures));
        read(Reading::number(&WINDOW_SLOW, instance, slow));
        if let Some(keys) = keys {
            read(Reading::number(&KEYS, instance, keys as u64));
        }
    }
}

static STATE: Metric =
    Metric::gauge("buttress.breaker.state", "{circuit}", "Circuits in this state.")
        .split_by("state");

static OPENED: Metric = Metric::counter(
    "buttress.breaker.opened",
    "{opening}",
    "Openings of a circuit, by its rules or by hand.",
);

static REJECTED: Metric = Metric::counter(
    "buttress.breaker.rejected",
    "{call}",
    "Calls that were rejected, or would have been if the layer only observes.",
);

static SPARE_REFUSED: Metric = Metric::counter(
    "buttress.breaker.spare_refused",
    "{call}",
    "Spare calls, such as hedges, that were refused, or would have been if the layer only observes.",
);

static WINDOW_CALLS: Metric = Metric::gauge(
    "buttress.breaker.window.calls",
    "{call}",
    "Calls that were recorded in the window that ends now.",
);

static WINDOW_FAILURES: Metric = Metric::gauge(
    "buttress.breaker.window.failures",
    "{call}",
    "Failures among the calls of the window.",
);

static WINDOW_SLOW: Metric = Metric::gauge(
    "buttress.breaker.window.slow",
    "{call}",
    "Slow calls among the calls of the window.",
);

static KEYS: Metric = Metric::gauge("buttress.breaker.keys", "{key}", "Keys in use.");
