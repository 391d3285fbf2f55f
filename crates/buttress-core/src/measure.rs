use std::sync::Arc;

/// A source of numbers for a metrics system: the handle of a layer, or of a whole stack.
///
/// A layer counts whether or not its numbers are read. So an exporter reads them when they are
/// scraped, and costs a call nothing.
///
/// ```
/// use buttress_core::{Measure, Metric, Reading};
///
/// static CALLS: Metric = Metric::counter("my.layer.calls", "{call}", "Number of calls.");
///
/// struct MyHandle;
///
/// impl Measure for MyHandle {
///     fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
///         define(&CALLS);
///     }
///
///     fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
///         read(Reading::count(&CALLS, "payments", 7));
///     }
/// }
///
/// MyHandle.measure(&mut |reading| assert_eq!(reading.instance(), "payments"));
/// ```
pub trait Measure: Send + Sync + 'static {
    /// Passes the definition of each metric that [`measure`](Self::measure) can report.
    fn describe(&self, define: &mut dyn FnMut(&'static Metric));

    /// Passes the present value of each metric.
    fn measure(&self, read: &mut dyn FnMut(Reading<'_>));
}

impl<T: Measure + ?Sized> Measure for Arc<T> {
    fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
        (**self).describe(define);
    }

    fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
        (**self).measure(read);
    }
}

/// The definition of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Metric {
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    kind: MetricKind,
    label: Option<&'static str>,
}

/// How the value of a [`Metric`] behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricKind {
    /// A total that never falls while its layer lives.
    Counter,
    /// A present value.
    Gauge,
    /// A distribution of single values, which are recorded when they occur. A [`Measure`] reports
    /// none: its readings are numbers.
    Histogram,
}

impl Metric {
    /// Creates the definition of a total. The unit is written as in UCUM: `{call}`, `s`, `By`.
    pub const fn counter(
        name: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        Self { name, unit, description, kind: MetricKind::Counter, label: None }
    }

    /// Creates the definition of a present value. The unit is written as in UCUM.
    pub const fn gauge(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { name, unit, description, kind: MetricKind::Gauge, label: None }
    }

    /// Creates the definition of a distribution. The unit is written as in UCUM.
    pub const fn histogram(
        name: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        Self { name, unit, description, kind: MetricKind::Histogram, label: None }
    }

    /// Splits the metric by a label, which every reading then has.
    #[must_use]
    pub const fn split_by(self, label: &'static str) -> Self {
        Self { label: Some(label), ..self }
    }

    /// Returns the name, such as `buttress.retry.retries`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the unit, as in UCUM.
    pub const fn unit(&self) -> &'static str {
        self.unit
    }

    /// Returns the description, a sentence.
    pub const fn description(&self) -> &'static str {
        self.description
    }

    /// Returns how the value behaves.
    pub const fn kind(&self) -> MetricKind {
        self.kind
    }

    /// Returns the name of the label that splits the metric, such as `reason`.
    pub const fn label(&self) -> Option<&'static str> {
        self.label
    }
}

/// The value of a metric at the time of reading.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    metric: &'static Metric,
    instance: &'a str,
    label: Option<&'static str>,
    value: MetricValue,
}

/// The number of a [`Reading`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum MetricValue {
    /// The value of a [`MetricKind::Counter`].
    Count(u64),
    /// The value of a [`MetricKind::Gauge`].
    Gauge(f64),
}

impl<'a> Reading<'a> {
    /// Creates the reading of a counter. The instance is the name of the layer, as in its events.
    pub const fn count(metric: &'static Metric, instance: &'a str, count: u64) -> Self {
        Self { metric, instance, label: None, value: MetricValue::Count(count) }
    }

    /// Creates the reading of a gauge. The instance is the name of the layer, as in its events.
    pub const fn gauge(metric: &'static Metric, instance: &'a str, value: f64) -> Self {
        Self { metric, instance, label: None, value: MetricValue::Gauge(value) }
    }

    /// Creates the reading of a gauge that is a number of things, such as the calls in flight. Numbers
    /// above 2^53 are rounded.
    #[expect(clippy::cast_precision_loss, reason = "a rounded number of 17 digits is exact enough")]
    pub const fn number(metric: &'static Metric, instance: &'a str, number: u64) -> Self {
        Self::gauge(metric, instance, number as f64)
    }

    /// Sets the value of the label that splits the metric.
    ///
    /// The values of a label are few and known when the program is built. A key, a path or a
    /// message is never a label, because each value is a time series of its own.
    #[must_use]
    pub const fn labelled(self, value: &'static str) -> Self {
        Self { label: Some(value), ..self }
    }

    /// Returns the definition of the metric.
    pub const fn metric(&self) -> &'static Metric {
        self.metric
    }

    /// Returns the name of the layer.
    pub const fn instance(&self) -> &'a str {
        self.instance
    }

    /// Returns the label that splits the metric, as name and value.
    pub const fn label(&self) -> Option<(&'static str, &'static str)> {
        match (self.metric.label, self.label) {
            (Some(name), Some(value)) => Some((name, value)),
            _ => None,
        }
    }

    /// Returns the number.
    pub const fn value(&self) -> MetricValue {
        self.value
    }
}
