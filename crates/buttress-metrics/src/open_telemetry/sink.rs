use std::{fmt, sync::Arc};

use buttress_core::Metric;
use opentelemetry::{
    KeyValue,
    metrics::{Histogram, Meter},
};

use super::attributes;
use crate::{
    COUNT_BUCKETS, CallEnd, CallRecord, DURATION_BUCKETS, Record, Subject,
    vocabulary::{ATTEMPT_DURATION, CALL_DURATION, CALL_HEDGES, CALL_RETRIES, VERDICT},
};

/// Records calls in histograms of OpenTelemetry, for a [`MeterLayer`](crate::MeterLayer).
///
/// The buckets are [`DURATION_BUCKETS`](crate::DURATION_BUCKETS) and
/// [`COUNT_BUCKETS`](crate::COUNT_BUCKETS), unless a view of the SDK sets others.
#[derive(Clone)]
#[cfg_attr(docsrs, doc(cfg(feature = "opentelemetry")))]
pub struct OpenTelemetrySink {
    histograms: Arc<Histograms>,
    attributes: Option<Arc<InstanceAttributes>>,
}

struct Histograms {
    calls: Histogram<f64>,
    attempts: Histogram<f64>,
    retries: Histogram<u64>,
    hedges: Histogram<u64>,
}

impl OpenTelemetrySink {
    /// Creates the sink with histograms of `meter`.
    pub fn new(meter: &Meter) -> Self {
        let duration = |metric: &'static Metric| {
            let builder = meter.f64_histogram(metric.name()).with_unit(metric.unit());
            let builder = builder.with_description(metric.description());
            builder.with_boundaries(DURATION_BUCKETS.to_vec()).build()
        };
        let count = |metric: &'static Metric| {
            let builder = meter.u64_histogram(metric.name()).with_unit(metric.unit());
            let builder = builder.with_description(metric.description());
            builder.with_boundaries(COUNT_BUCKETS.to_vec()).build()
        };
        let histograms = Histograms {
            calls: duration(&CALL_DURATION),
            attempts: duration(&ATTEMPT_DURATION),
            retries: count(&CALL_RETRIES),
            hedges: count(&CALL_HEDGES),
        };
        Self { histograms: Arc::new(histograms), attributes: None }
    }
}

impl fmt::Debug for OpenTelemetrySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenTelemetrySink").finish_non_exhaustive()
    }
}

impl Record for OpenTelemetrySink {
    fn record(&self, call: &CallRecord<'_>) {
        match &self.attributes {
            Some(attributes) => self.histograms.record(call, attributes),
            None => self.histograms.record(call, &InstanceAttributes::new(call.instance)),
        }
    }

    fn for_instance(&self, _: Subject, instance: &str) -> Option<Self> {
        let attributes = Some(Arc::new(InstanceAttributes::new(instance)));
        Some(Self { histograms: Arc::clone(&self.histograms), attributes })
    }
}

impl Histograms {
    fn record(&self, call: &CallRecord<'_>, attributes: &InstanceAttributes) {
        let by_end = attributes.by_end.get(call.end as usize).map_or(&[][..], |both| both);
        let seconds = call.duration.as_secs_f64();
        if call.subject == Subject::Attempt {
            return self.attempts.record(seconds, by_end);
        }
        self.calls.record(seconds, by_end);
        if call.retries > 0 {
            self.retries.record(call.retries.into(), &attributes.instance);
        }
        if call.hedges > 0 {
            self.hedges.record(call.hedges.into(), &attributes.instance);
        }
    }
}

/// The attributes of the calls of a layer.
struct InstanceAttributes {
    instance: Box<[KeyValue]>,
    by_end: [Box<[KeyValue]>; CallEnd::COUNT],
}

impl InstanceAttributes {
    fn new(instance: &str) -> Self {
        let instance = Arc::<str>::from(instance);
        let mut ends = CallEnd::ALL.iter();
        Self {
            by_end: std::array::from_fn(|_| {
                let label = ends.next().map(|end| (VERDICT, end.as_str()));
                attributes(Arc::clone(&instance), label)
            }),
            instance: attributes(instance, None),
        }
    }
}
