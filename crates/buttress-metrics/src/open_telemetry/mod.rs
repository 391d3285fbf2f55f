use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_core::{Metric, MetricKind, MetricValue};
use opentelemetry::{KeyValue, StringValue, metrics::Meter};
use tokio::time::Instant;

use crate::{
    NAME_LABEL, Registry,
    registry::{Sources, Totals, lock},
};

mod sink;

pub use self::sink::OpenTelemetrySink;

impl Registry {
    /// Creates an observable instrument of `meter` for each metric of the handles.
    ///
    /// Call this method once per meter. Handles that are added later get instruments too. The
    /// instruments read the handles when the SDK collects them, all handles once per collection. They
    /// keep the handles if the registry is dropped.
    #[cfg_attr(docsrs, doc(cfg(feature = "opentelemetry")))]
    pub fn register(&self, meter: &Meter) {
        let export = Export {
            meter: meter.clone(),
            defined: Arc::default(),
            collection: Arc::new(Collection::new(Arc::clone(&self.sources))),
        };
        lock(&self.exports).push(export.clone());
        export.define(self);
    }

    /// Creates the instruments of a handle that was added now.
    pub(crate) fn define_added(&self) {
        let exports = lock(&self.exports).clone();
        for export in exports {
            export.define(self);
        }
    }
}

/// A meter that the registry is registered with.
#[derive(Clone)]
pub(crate) struct Export {
    meter: Meter,
    /// The names that have an instrument.
    defined: Arc<Mutex<Vec<&'static str>>>,
    collection: Arc<Collection>,
}

impl Export {
    fn define(&self, registry: &Registry) {
        registry.describe(|metric| {
            let instrument = {
                let mut defined = lock(&self.defined);
                if defined.contains(&metric.name()) {
                    return;
                }
                defined.push(metric.name());
                defined.len() - 1
            };
            self.build(metric, instrument);
        });
    }

    fn build(&self, metric: &'static Metric, instrument: usize) {
        let (name, unit, text) = (metric.name(), metric.unit(), metric.description());
        let collection = Arc::clone(&self.collection);
        // The instruments stay in the SDK: the values that `build` returns are handles without use.
        match metric.kind() {
            MetricKind::Counter => {
                let builder = self.meter.u64_observable_counter(name);
                let builder = builder.with_unit(unit).with_description(text);
                let _ = builder
                    .with_callback(move |observer| {
                        collection.observe(instrument, name, |value, attributes| {
                            if let MetricValue::Count(count) = value {
                                observer.observe(count, attributes);
                            }
                        });
                    })
                    .build();
            }
            MetricKind::Gauge => {
                let builder = self.meter.f64_observable_gauge(name);
                let builder = builder.with_unit(unit).with_description(text);
                let _ = builder
                    .with_callback(move |observer| {
                        collection.observe(instrument, name, |value, attributes| {
                            if let MetricValue::Gauge(gauge) = value {
                                observer.observe(gauge, attributes);
                            }
                        });
                    })
                    .build();
            }
            _ => {}
        }
    }
}

/// The numbers of one collection, which all instruments share.
///
/// The API has a callback for each instrument and no word for a collection. But a collection asks
/// each instrument once. So an instrument that asks again begins a new one.
struct Collection {
    sources: Arc<Sources>,
    latest: Mutex<Option<Latest>>,
}

struct Latest {
    totals: Arc<Totals>,
    taken: Instant,
    /// The instruments that have seen these totals.
    seen: Vec<usize>,
}

impl Collection {
    fn new(sources: Arc<Sources>) -> Self {
        Self { sources, latest: Mutex::new(None) }
    }

    fn observe(
        &self,
        instrument: usize,
        name: &'static str,
        mut observe: impl FnMut(MetricValue, &[KeyValue]),
    ) {
        for (series, value) in self.totals(instrument).iter() {
            if series.metric.name() == name {
                observe(value, &series.attributes);
            }
        }
    }

    /// The totals of the present collection. No lock is held while the handles are read.
    fn totals(&self, instrument: usize) -> Arc<Totals> {
        let spare = {
            let mut latest = lock(&self.latest);
            match &mut *latest {
                Some(known) if known.serves(instrument) => {
                    known.seen.push(instrument);
                    return Arc::clone(&known.totals);
                }
                known => known.take(),
            }
        };
        // Another reader of the SDK may still use the former totals.
        let spare = spare.and_then(|latest| Arc::try_unwrap(latest.totals).ok());
        let mut totals = spare.unwrap_or_default();
        totals.fill(&self.sources);
        let totals = Arc::new(totals);
        let (taken, seen) = (Instant::now(), vec![instrument]);
        let replaced = lock(&self.latest).replace(Latest { totals: totals.clone(), taken, seen });
        drop(replaced);
        totals
    }
}

impl Latest {
    /// Whether the totals belong to the collection in which `instrument` asks.
    fn serves(&self, instrument: usize) -> bool {
        !self.seen.contains(&instrument) && self.taken.elapsed() < LONGEST_COLLECTION
    }
}

pub(crate) fn attributes(
    instance: Arc<str>,
    label: Option<(&'static str, &'static str)>,
) -> Box<[KeyValue]> {
    let name = KeyValue::new(NAME_LABEL, StringValue::from(instance));
    let split = label.map(|(name, value)| KeyValue::new(name, value));
    [name].into_iter().chain(split).collect()
}

/// The totals are not used for longer, in case an instrument has skipped a collection.
const LONGEST_COLLECTION: Duration = Duration::from_secs(1);
