use std::{borrow::Cow, sync::Arc, time::Duration};

use buttress_control::Ratio;
use buttress_core::{Bind, Enforcement, Extent, Plain, StateScope};
use tower_layer::Layer;

use crate::{DeadlineHandle, DeadlineService, settings::Settings};

/// Ends calls at a deadline.
///
/// All clones of a layer, and all services it makes, share its counts and its timers.
#[derive(Clone, Debug)]
#[doc(alias("timeout", "time limit"))]
pub struct DeadlineLayer<M = Plain> {
    settings: Arc<Settings>,
    mode: M,
}

impl DeadlineLayer {
    /// A deadline `timeout` after the call was made, or after it began to wait for readiness.
    ///
    /// Zero rejects every call; thirty years or more ([`Deadline::NEVER`](buttress_core::Deadline::NEVER))
    /// is no deadline of its own.
    pub fn new(timeout: Duration) -> Self {
        Self { settings: Arc::new(Settings::new(Some(timeout))), mode: Plain }
    }

    /// No deadline of its own: enforces the ambient one and the one that came with the request.
    #[doc(alias("deadline propagation", "grpc-timeout"))]
    pub fn propagate() -> Self {
        Self { settings: Arc::new(Settings::new(None)), mode: Plain }
    }
}

impl<M> DeadlineLayer<M> {
    /// Names this instance in rejections and events. `"deadline"` by default.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|settings| settings.origin = settings.origin.clone().named(name))
    }

    /// Ends the layer's own timeout at the response head. By default it covers the body too.
    ///
    /// It is not announced to another process, because that would apply it to the body.
    #[doc(alias("streaming", "time to first byte"))]
    pub fn until_head(self) -> Self {
        self.with(|settings| settings.extent = Extent::Head)
    }

    /// Counts and reports what would be rejected, and rejects nothing.
    ///
    /// The deadline is neither ambient inside nor announced. What the request announces itself is left
    /// as it is.
    #[doc(alias("shadow mode", "dry run"))]
    pub fn observe(self) -> Self {
        self.with(|settings| settings.enforcement = Enforcement::Observe)
    }

    /// Serves calls that arrive after their deadline, except for `ratio` of the traffic of the last
    /// ten seconds. By default all of them are rejected.
    ///
    /// Where clocks or callers are wrong about deadlines, this bounds the harm. It is the law of
    /// [Finagle's `DeadlineFilter`](https://github.com/twitter/finagle/blob/develop/finagle-core/src/main/scala/com/twitter/finagle/service/DeadlineFilter.scala),
    /// whose ratio is 20 %. A call that is served has this layer's own timeout.
    pub fn max_reject_ratio(self, ratio: Ratio) -> Self {
        self.with(|settings| settings.max_reject_ratio(ratio))
    }

    /// Gives each service counters, timers and late rejections of its own. Default: all services of the
    /// layer share them.
    ///
    /// The clones of one service share them too. [`DeadlineService::handle`] reads them. The layer's
    /// own handle then counts nothing.
    pub fn per_service(self) -> Self {
        self.with(|settings| settings.scope = StateScope::Service)
    }

    /// Returns a handle to the live numbers of all services of this layer.
    pub fn handle(&self) -> DeadlineHandle {
        DeadlineHandle::new(&self.settings)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S, M: Clone> Layer<S> for DeadlineLayer<M> {
    type Service = DeadlineService<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineService::new(inner, self.settings.for_service(), self.mode.clone())
    }
}

impl<M0, M> Bind<M> for DeadlineLayer<M0> {
    type Bound = DeadlineLayer<M>;

    fn bind(self, mode: M) -> DeadlineLayer<M> {
        DeadlineLayer { settings: self.settings, mode }
    }
}
