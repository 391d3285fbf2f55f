use std::{borrow::Cow, sync::Arc, time::Duration};

use buttress_control::Ratio;
use buttress_core::{Bind, Enforcement, Extent, Plain, SharedSettings, StateScope};
use tower_layer::Layer;

use crate::{DeadlineHandle, DeadlineService, settings::Settings};

/// Ends calls at a deadline.
///
/// Clones of a layer and all its services share the timeout, counters and timers, except under
/// [`per_service`](Self::per_service). No option changes a clone made before.
#[derive(Clone, Debug)]
#[doc(alias("timeout", "time limit"))]
pub struct DeadlineLayer<M = Plain> {
    settings: Arc<SharedSettings<Settings>>,
    mode: M,
}

impl DeadlineLayer {
    /// Creates a layer whose deadline is `timeout` after the call, or after the wait for readiness
    /// began.
    ///
    /// Zero rejects every call. Thirty years or more
    /// ([`Deadline::NEVER`](buttress_core::Deadline::NEVER)) set no deadline, as in
    /// [`propagate`](Self::propagate).
    pub fn new(timeout: Duration) -> Self {
        Self { settings: Arc::new(SharedSettings::new(Settings::new(Some(timeout)))), mode: Plain }
    }

    /// Creates a layer without a timeout. The layer enforces the ambient deadline and the deadline
    /// that came with the request.
    #[doc(alias("deadline propagation", "grpc-timeout"))]
    pub fn propagate() -> Self {
        Self { settings: Arc::new(SharedSettings::new(Settings::new(None))), mode: Plain }
    }
}

impl<M> DeadlineLayer<M> {
    /// Sets the name of this instance in rejections and events. Default: `"deadline"`.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|settings| settings.origin = settings.origin.clone().named(name))
    }

    /// Ends the layer's own timeout at the response head. Default: the timeout covers the body too.
    ///
    /// The timeout is not announced to another process, because that process would apply it to the
    /// body.
    #[doc(alias("streaming", "time to first byte"))]
    pub fn until_head(self) -> Self {
        self.with(|settings| settings.extent = Extent::UntilHead)
    }

    /// Counts and reports the calls that would be rejected, and rejects none. Default: off.
    ///
    /// The deadline is neither ambient inside nor announced. A deadline that the request announces
    /// itself is left unchanged.
    #[doc(alias("shadow mode", "dry run"))]
    pub fn observe(self) -> Self {
        self.with(|settings| settings.enforcement = Enforcement::Observe)
    }

    /// Limits the rejections of calls that arrive after their deadline to `ratio` of the traffic of
    /// the last 10 s. Further late calls are served. Default: all late calls are rejected.
    ///
    /// The limit bounds the harm if clocks or callers are wrong about deadlines. The law is that of
    /// [Finagle's
    /// `DeadlineFilter`](https://github.com/twitter/finagle/blob/develop/finagle-core/src/main/scala/com/twitter/finagle/service/DeadlineFilter.scala),
    /// whose ratio is 20 %. A late call that is served has this layer's own timeout only.
    ///
    /// Returns a layer that starts without traffic. Clones and services made before keep theirs.
    pub fn max_reject_ratio(self, ratio: Ratio) -> Self {
        self.with(|settings| settings.max_reject_ratio(ratio))
    }

    /// Gives each service a timeout, counters, timers and late rejections of its own. Default: all
    /// services of the layer share them.
    ///
    /// The clones of a service share them. [`DeadlineService::handle`] reads them. The layer's
    /// own handle then counts nothing.
    pub fn per_service(self) -> Self {
        self.with(|settings| settings.scope = StateScope::PerService)
    }

    /// Returns a handle to the live numbers of all services of this layer.
    pub fn handle(&self) -> DeadlineHandle {
        DeadlineHandle::new(&self.settings)
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        Self { settings: self.settings.changed(change), ..self }
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
