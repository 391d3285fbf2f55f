use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use buttress_core::{Measure, Metric, MetricKind, MetricValue, Reading};

/// The handles of a registry.
#[derive(Default)]
pub(crate) struct Sources {
    // The list behind the lock is cloned for each reading, so that no handle is read under the lock.
    list: RwLock<Arc<Vec<Arc<dyn Measure>>>>,
}

impl Sources {
    pub(crate) fn add(&self, source: Arc<dyn Measure>) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut list).push(source);
    }

    pub(crate) fn list(&self) -> Arc<Vec<Arc<dyn Measure>>> {
        Arc::clone(&self.list.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Passes each definition once. Of several with the same name, the first counts.
    pub(crate) fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
        let mut known: Vec<&'static str> = Vec::new();
        for source in &*self.list() {
            source.describe(&mut |metric| {
                if !known.contains(&metric.name()) {
                    known.push(metric.name());
                    define(metric);
                }
            });
        }
    }
}

/// The values of one reading of all handles, with one entry for each name and labels.
///
/// An entry is kept from reading to reading, with the key that an exporter needs, so that a reading
/// allocates only for new entries.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// In the order in which they first appeared.
    entries: Vec<Series>,
    positions: HashMap<Arc<str>, HashMap<MetricAndLabel, usize>>,
}

/// The value of a name with its labels.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) metric: &'static Metric,
    pub(crate) instance: Arc<str>,
    label: Option<&'static str>,
    /// `None` if no handle has reported a value in this reading.
    pub(crate) value: Option<MetricValue>,
    #[cfg(feature = "metrics")]
    pub(crate) key: metrics::Key,
    #[cfg(feature = "opentelemetry")]
    pub(crate) attributes: Box<[opentelemetry::KeyValue]>,
}

/// The name of a metric and the value of its label.
type MetricAndLabel = (&'static str, Option<&'static str>);

impl Totals {
    /// Reads all handles anew.
    pub(crate) fn fill(&mut self, sources: &Sources) {
        for series in &mut self.entries {
            series.value = None;
        }
        for source in &*sources.list() {
            source.measure(&mut |reading| self.add(&reading));
        }
    }

    /// The entries that have a value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Series, MetricValue)> {
        self.entries.iter().filter_map(|series| Some((series, series.value?)))
    }

    fn add(&mut self, reading: &Reading<'_>) {
        let position = self.position(reading);
        if let Some(series) = self.entries.get_mut(position) {
            series.add(reading.value());
        }
    }

    fn position(&mut self, reading: &Reading<'_>) -> usize {
        let label = reading.label().map(|(_, value)| value);
        let name = (reading.metric().name(), label);
        if let Some(known) = self.positions.get(reading.instance()).and_then(|all| all.get(&name)) {
            return *known;
        }
        let position = self.entries.len();
        let instance = match self.positions.get_key_value(reading.instance()) {
            Some((instance, _)) => Arc::clone(instance),
            None => Arc::from(reading.instance()),
        };
        self.positions.entry(Arc::clone(&instance)).or_default().insert(name, position);
        self.entries.push(Series::new(reading, instance));
        position
    }
}

impl Series {
    fn new(reading: &Reading<'_>, instance: Arc<str>) -> Self {
        Self {
            metric: reading.metric(),
            label: reading.label().map(|(_, value)| value),
            value: None,
            #[cfg(feature = "metrics")]
            key: crate::metrics_facade::key(
                reading.metric(),
                metrics::SharedString::from_shared(Arc::clone(&instance)),
                reading.label(),
            ),
            #[cfg(feature = "opentelemetry")]
            attributes: crate::open_telemetry::attributes(Arc::clone(&instance), reading.label()),
            instance,
        }
    }

    /// Adds the value of a further handle. A value of another kind than the definition is left out.
    fn add(&mut self, value: MetricValue) {
        let sum = match (self.metric.kind(), self.value, value) {
            (MetricKind::Counter, None, MetricValue::Count(_))
            | (MetricKind::Gauge, None, MetricValue::Gauge(_)) => value,
            (_, Some(MetricValue::Count(sum)), MetricValue::Count(more)) => {
                MetricValue::Count(sum.saturating_add(more))
            }
            (_, Some(MetricValue::Gauge(known)), MetricValue::Gauge(more)) => {
                MetricValue::Gauge(if adds_up(self.metric) {
                    known + more
                } else {
                    known.max(more)
                })
            }
            _ => return,
        };
        self.value = Some(sum);
    }

    pub(crate) fn reading(&self, value: MetricValue) -> Option<Reading<'_>> {
        let reading = match value {
            MetricValue::Count(count) => Reading::count(self.metric, &self.instance, count),
            MetricValue::Gauge(gauge) => Reading::gauge(self.metric, &self.instance, gauge),
            _ => return None,
        };
        Some(match self.label {
            Some(label) => reading.labelled(label),
            None => reading,
        })
    }
}

/// Whether two values of the gauge make a sum: not so times and ratios.
fn adds_up(metric: &Metric) -> bool {
    !matches!(metric.unit(), "s" | "1" | "%")
}
