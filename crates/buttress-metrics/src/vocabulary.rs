use buttress_core::Metric;

use crate::Subject;

/// The definitions of the distributions that [`MetricsSink`](crate::MetricsSink) and
/// [`OpenTelemetrySink`](crate::OpenTelemetrySink) record. A [`Registry`](crate::Registry) reports
/// none of them.
pub const HISTOGRAMS: &[&Metric] =
    &[&CALL_DURATION, &CALL_RETRIES, &CALL_HEDGES, &ATTEMPT_DURATION];

/// Upper bounds of buckets for the durations, in seconds: from 1 ms to 60 s.
///
/// [`OpenTelemetrySink`](crate::OpenTelemetrySink) uses them. The Prometheus exporter of the crate
/// `metrics` needs buckets for each histogram, and otherwise makes summaries, which cannot be added
/// up.
pub const DURATION_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Upper bounds of buckets for the numbers of retries and hedges of a call.
pub const COUNT_BUCKETS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 6.0, 10.0];

/// The name of the label that holds the name of a layer.
///
/// The label is not called `instance`, as in events. Prometheus gives each target a label of that
/// name, and would rename this one to `exported_instance`.
pub const NAME_LABEL: &str = "name";

pub(crate) const VERDICT: &str = "verdict";

/// The metrics of the handle of a meter.
#[derive(Debug)]
pub(crate) struct MeterMetrics {
    pub(crate) begun: &'static Metric,
    pub(crate) ended: &'static Metric,
    pub(crate) in_flight: &'static Metric,
}

impl Subject {
    pub(crate) const fn metrics(self) -> MeterMetrics {
        match self {
            Self::Call => {
                MeterMetrics { begun: &CALL_BEGUN, ended: &CALL_ENDED, in_flight: &CALL_IN_FLIGHT }
            }
            Self::Attempt => MeterMetrics {
                begun: &ATTEMPT_BEGUN,
                ended: &ATTEMPT_ENDED,
                in_flight: &ATTEMPT_IN_FLIGHT,
            },
        }
    }

    /// Returns the definition of the histogram of the durations, for a sink of your own.
    pub const fn duration(self) -> &'static Metric {
        match self {
            Self::Call => &CALL_DURATION,
            Self::Attempt => &ATTEMPT_DURATION,
        }
    }
}

static CALL_BEGUN: Metric =
    Metric::counter("buttress.call.begun", "{call}", "Calls that have begun.");

static CALL_ENDED: Metric = Metric::counter(
    "buttress.call.ended",
    "{call}",
    "Calls that have ended, with their body or by being dropped.",
)
.split_by(VERDICT);

static CALL_IN_FLIGHT: Metric = Metric::gauge(
    "buttress.call.in_flight",
    "{call}",
    "Calls that have begun and not ended. Their bodies count too.",
);

static ATTEMPT_BEGUN: Metric =
    Metric::counter("buttress.attempt.begun", "{attempt}", "Attempts that have begun.");

static ATTEMPT_ENDED: Metric = Metric::counter(
    "buttress.attempt.ended",
    "{attempt}",
    "Attempts that have ended, with their body or by being dropped.",
)
.split_by(VERDICT);

static ATTEMPT_IN_FLIGHT: Metric = Metric::gauge(
    "buttress.attempt.in_flight",
    "{attempt}",
    "Attempts that have begun and not ended. Their bodies count too.",
);

pub(crate) static CALL_DURATION: Metric = Metric::histogram(
    "buttress.call.duration",
    "s",
    "Time of a call to the end of its body, with all its attempts.",
)
.split_by(VERDICT);

pub(crate) static CALL_RETRIES: Metric = Metric::histogram(
    "buttress.call.retries",
    "{attempt}",
    "Attempts after the first of a call. Calls without any are not recorded.",
);

pub(crate) static CALL_HEDGES: Metric = Metric::histogram(
    "buttress.call.hedges",
    "{hedge}",
    "Hedges of a call. Calls without any are not recorded.",
);

pub(crate) static ATTEMPT_DURATION: Metric = Metric::histogram(
    "buttress.attempt.duration",
    "s",
    "Time of an attempt to the end of its body.",
)
.split_by(VERDICT);
