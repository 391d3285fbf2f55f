use std::{borrow::Cow, sync::Arc};

use buttress_core::{Bind, By, ByMode, Extent, Plain, SharedSettings, StateScope};
use tower_layer::Layer;

use super::{handle::MeterHandle, service::Meter, settings::Settings};
use crate::{Record, Subject};

/// Measures the duration and the verdict of each call, to the end of its body.
///
/// All clones of a layer, and all services it makes, share their counts, unless the layer is
/// [`per_service`](Self::per_service). Every option changes this layer only, and keeps sharing the
/// counts.
#[derive(Debug)]
#[doc(alias("latency", "histogram", "instrument"))]
pub struct MeterLayer<M = Plain, R = (), J = ByMode> {
    settings: Arc<SharedSettings<Settings<R>>>,
    mode: M,
    judge: J,
}

impl<R: Record> MeterLayer<Plain, R> {
    /// Creates a layer that measures whole calls, and passes them to `sink`. For the outermost place
    /// of a stack.
    pub fn call(sink: R) -> Self {
        Self::new(Subject::Call, sink)
    }

    /// Creates a layer that measures single attempts, and passes them to `sink`. For the innermost
    /// place of a stack.
    pub fn attempt(sink: R) -> Self {
        Self::new(Subject::Attempt, sink)
    }

    fn new(subject: Subject, sink: R) -> Self {
        let settings = Arc::new(SharedSettings::new(Settings::new(subject, sink)));
        Self { settings, mode: Plain, judge: ByMode }
    }
}

impl<M, R: Record, J> MeterLayer<M, R, J> {
    /// Sets the name of this instance, the label `name` of its metrics. Default: `"meter"`.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|settings| settings.rename(settings.origin.clone().named(name)))
    }

    /// Measures to the response head instead of the end of the body. Default: to the end.
    ///
    /// For responses whose bodies are read slowly or not at all. Otherwise a body that is dropped
    /// unread counts as `dropped`.
    #[doc(alias("time to first byte"))]
    pub fn until_head(self) -> Self {
        self.with(|settings| settings.extent = Extent::UntilHead)
    }

    /// Gives each service of this layer counts of its own, which [`Meter::handle`] reads. Default:
    /// all services share the counts. The sink stays shared.
    pub fn per_service(self) -> Self {
        self.with(|settings| settings.scope = StateScope::PerService)
    }

    /// Replaces the mode's classification of outcomes. Default: the mode's.
    ///
    /// Takes a closure `|outcome: Result<&Response, &Error>| -> Verdict`, or any
    /// [`Classify`](buttress_core::Classify). Write the type of the closure's argument out.
    /// Otherwise the closure is not general enough for the compiler. If the head is a success, the
    /// end of the body still decides.
    pub fn classify<F>(self, classify: F) -> MeterLayer<M, R, By<F>> {
        MeterLayer { settings: self.settings, mode: self.mode, judge: By(classify) }
    }

    /// Returns the handle of the counts.
    pub fn handle(&self) -> MeterHandle {
        MeterHandle::new(&self.settings)
    }

    fn with(self, change: impl FnOnce(&mut Settings<R>)) -> Self {
        Self { settings: self.settings.changed(change), ..self }
    }
}

impl<M: Clone, R, J: Clone> Clone for MeterLayer<M, R, J> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            mode: self.mode.clone(),
            judge: self.judge.clone(),
        }
    }
}

impl<S, M: Clone, R, J: Clone> Layer<S> for MeterLayer<M, R, J> {
    type Service = Meter<S, M, R, J>;

    fn layer(&self, inner: S) -> Self::Service {
        Meter::new(inner, self.settings.for_service(), self.mode.clone(), self.judge.clone())
    }
}

impl<M0, M, R, J> Bind<M> for MeterLayer<M0, R, J> {
    type Bound = MeterLayer<M, R, J>;

    fn bind(self, mode: M) -> MeterLayer<M, R, J> {
        MeterLayer { settings: self.settings, mode, judge: self.judge }
    }
}
