use std::sync::Arc;

use buttress_core::{Metric, MetricKind, MetricValue};
use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};

use crate::{
    CallEnd, CallRecord, HISTOGRAMS, NAME_LABEL, Record, Registry, Subject,
    vocabulary::{CALL_HEDGES, CALL_RETRIES, VERDICT},
};

impl Registry {
    /// Sets the counters and gauges of the present recorder of the crate `metrics` to the numbers of
    /// all handles.
    ///
    /// Call this method right before each scrape, or on an interval no longer than that of the
    /// exporter. Between two calls the recorder shows the old numbers. Each call also describes the
    /// metrics, because the recorder may be a new one.
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn publish(&self) {
        self.read_series(|totals| {
            metrics::with_recorder(|recorder| {
                self.describe(|metric| describe(recorder, metric));
                for (series, value) in totals.iter() {
                    match value {
                        MetricValue::Count(count) => {
                            recorder.register_counter(&series.key, &METADATA).absolute(count);
                        }
                        MetricValue::Gauge(value) => {
                            recorder.register_gauge(&series.key, &METADATA).set(value);
                        }
                        _ => {}
                    }
                }
            });
        });
    }
}

/// Records calls in histograms of the crate `metrics`, for a [`MeterLayer`](crate::MeterLayer).
///
/// The histograms belong to the recorder that is present when a call ends. A call looks its
/// histogram up in the recorder, and allocates nothing.
#[derive(Clone, Debug, Default)]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub struct MetricsSink {
    keys: Option<Arc<InstanceKeys>>,
}

impl MetricsSink {
    /// Creates the sink, and describes its histograms to the present recorder.
    ///
    /// If the recorder is installed later, call [`describe`](Self::describe) then.
    pub fn new() -> Self {
        Self::describe();
        Self::default()
    }

    /// Describes the histograms to the present recorder.
    pub fn describe() {
        metrics::with_recorder(|recorder| {
            for metric in HISTOGRAMS {
                describe(recorder, metric);
            }
        });
    }
}

impl Record for MetricsSink {
    fn record(&self, call: &CallRecord<'_>) {
        match &self.keys {
            Some(keys) => keys.record(call),
            None => InstanceKeys::new(call.subject, call.instance).record(call),
        }
    }

    fn for_instance(&self, subject: Subject, instance: &str) -> Option<Self> {
        Some(Self { keys: Some(Arc::new(InstanceKeys::new(subject, instance))) })
    }
}

/// The keys of the histograms of a layer.
#[derive(Debug)]
struct InstanceKeys {
    durations: [Key; CallEnd::COUNT],
    retries: Key,
    hedges: Key,
}

impl InstanceKeys {
    fn new(subject: Subject, instance: &str) -> Self {
        let instance = Arc::<str>::from(instance);
        let shared = || SharedString::from_shared(Arc::clone(&instance));
        let mut ends = CallEnd::ALL.iter();
        Self {
            durations: std::array::from_fn(|_| {
                let label = ends.next().map(|end| (VERDICT, end.as_str()));
                key(subject.duration(), shared(), label)
            }),
            retries: key(&CALL_RETRIES, shared(), None),
            hedges: key(&CALL_HEDGES, shared(), None),
        }
    }

    fn record(&self, call: &CallRecord<'_>) {
        metrics::with_recorder(|recorder| {
            let record = |key, value: f64| {
                recorder.register_histogram(key, &METADATA).record(value);
            };
            if let Some(key) = self.durations.get(call.end as usize) {
                record(key, call.duration.as_secs_f64());
            }
            if call.subject == Subject::Call && call.retries > 0 {
                record(&self.retries, call.retries.into());
            }
            if call.subject == Subject::Call && call.hedges > 0 {
                record(&self.hedges, call.hedges.into());
            }
        });
    }
}

pub(crate) fn key(
    metric: &'static Metric,
    instance: SharedString,
    label: Option<(&'static str, &'static str)>,
) -> Key {
    let labels = [Label::new(NAME_LABEL, instance)];
    let split = label.map(|(name, value)| Label::from_static_parts(name, value));
    Key::from_parts(metric.name(), labels.into_iter().chain(split).collect::<Vec<_>>())
}

fn describe(recorder: &dyn Recorder, metric: &'static Metric) {
    let name = KeyName::from_const_str(metric.name());
    let unit = match metric.unit() {
        "s" => Some(Unit::Seconds),
        "By" => Some(Unit::Bytes),
        "%" => Some(Unit::Percent),
        unit if unit.starts_with('{') => Some(Unit::Count),
        _ => None,
    };
    let description = SharedString::const_str(metric.description());
    match metric.kind() {
        MetricKind::Counter => recorder.describe_counter(name, unit, description),
        MetricKind::Gauge => recorder.describe_gauge(name, unit, description),
        MetricKind::Histogram => recorder.describe_histogram(name, unit, description),
        _ => {}
    }
}

const METADATA: Metadata<'static> = Metadata::new("buttress", Level::INFO, Some(module_path!()));
