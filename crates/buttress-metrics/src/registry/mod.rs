use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use buttress_core::{Measure, Metric, Reading};

mod totals;

pub(crate) use self::totals::{Sources, Totals};

/// A set of handles whose numbers are read together, for an exporter.
///
/// All clones share the set. A registry costs the calls of its layers nothing: the layers count
/// anyway, and their numbers are read when the exporter asks.
///
/// A registry is no [`Measure`] itself. Otherwise a registry could contain itself.
///
/// Add the handle of each layer once. If several handles report the same metric with the same name
/// of the layer, their numbers are added up. So no handle overwrites another. For gauges of a time or
/// a ratio, the largest value counts.
///
/// ```
/// use buttress_core::{Measure, Metric, Reading};
/// use buttress_metrics::Registry;
///
/// # static CALLS: Metric = Metric::counter("my.layer.calls", "{call}", "Number of calls.");
/// # struct Handle;
/// # impl Measure for Handle {
/// #     fn describe(&self, define: &mut dyn FnMut(&'static Metric)) { define(&CALLS) }
/// #     fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
/// #         read(Reading::count(&CALLS, "payments", 7));
/// #     }
/// # }
/// # let (first, second) = (Handle, Handle);
/// let registry = Registry::new().add(first).add(second);
/// registry.read(|reading| {
///     println!("{} of {}: {:?}", reading.metric().name(), reading.instance(), reading.value());
/// });
/// ```
#[derive(Clone, Default)]
#[doc(alias("collector", "meter provider"))]
pub struct Registry {
    pub(crate) sources: Arc<Sources>,
    /// The totals of the last reading, for the next one.
    spare: Arc<Mutex<Totals>>,
    #[cfg(feature = "opentelemetry")]
    pub(crate) exports: Arc<Mutex<Vec<crate::open_telemetry::Export>>>,
}

impl Registry {
    /// Creates an empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a handle, also for all clones of this registry. The handle stays until the last clone
    /// is dropped.
    ///
    /// Exporters that are set up already report the handle too.
    #[expect(clippy::should_implement_trait, reason = "a registry is no number")]
    pub fn add(self, handle: impl Measure) -> Self {
        self.sources.add(Arc::new(handle));
        #[cfg(feature = "opentelemetry")]
        self.define_added();
        self
    }

    /// Passes the definition of each metric, once per name.
    pub fn describe(&self, mut define: impl FnMut(&'static Metric)) {
        self.sources.describe(&mut define);
    }

    /// Reads all handles, and passes each number, in the order in which the handles were added.
    ///
    /// No lock is held meanwhile. If a handle panics, the panic continues here.
    pub fn read(&self, mut read: impl FnMut(Reading<'_>)) {
        self.read_series(|totals| {
            totals.iter().filter_map(|(series, value)| series.reading(value)).for_each(&mut read);
        });
    }

    /// Reads all handles, and lets `use_totals` use the numbers.
    pub(crate) fn read_series<R>(&self, use_totals: impl FnOnce(&Totals) -> R) -> R {
        // A reading at the same time on another thread begins with empty totals.
        let mut totals = std::mem::take(&mut *lock(&self.spare));
        totals.fill(&self.sources);
        let result = use_totals(&totals);
        *lock(&self.spare) = totals;
        result
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("handles", &self.sources.list().len())
            .finish_non_exhaustive()
    }
}

/// No user code runs under the locks of this crate, so a poisoned one holds sound values.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
