use std::{borrow::Cow, sync::Arc};

use buttress_core::{Bind, By, ByMode, Enforcement, Plain, StateScope, Verdict};
use tower_layer::Layer;

use crate::{
    Fallback, FallbackHandle,
    alternative::{AlternativeService, ComputedAnswer, FixedAnswer},
    selection::Selection,
    settings::{Readiness, Settings},
};

/// Answers failed calls in place of the inner service.
///
/// Clones of a layer and all its services share the counters and the number of running alternative
/// calls, except under [`per_service`](Self::per_service). No option changes a clone made before.
#[derive(Clone, Debug)]
#[doc(alias("graceful degradation", "default value", "recover"))]
pub struct FallbackLayer<M = Plain, A = FixedAnswer<()>, J = ByMode> {
    settings: Arc<Settings>,
    alternative: A,
    mode: M,
    judge: J,
}

impl FallbackLayer {
    /// Answers with a clone of `value`. The value itself is stored once for all services.
    ///
    /// In `Plain` mode the value is a response of the service. Over HTTP the value is an
    /// `http::Response` with a body of another type, so the response of the service need not be
    /// `Clone`. The value must be: `Full<Bytes>` is a body that is `Clone`, and the body of axum is
    /// not. Around reqwest, take a string or `Bytes` as the body.
    #[doc(alias("default", "static response"))]
    pub fn value<V: Clone>(value: V) -> FallbackLayer<Plain, FixedAnswer<V>> {
        FallbackLayer::of(FixedAnswer::new(value))
    }

    /// Answers with the result of `answer`, a closure `|verdict: Verdict, outcome:
    /// Result<&Response, &Error>| -> Answer`.
    ///
    /// Write the type of the second argument out if the closure reads it. Parts can be left to the
    /// compiler, such as the body type of the layers inside: `Result<&http::Response<_>, &_>`.
    ///
    /// A panic of the closure passes through.
    #[doc(alias("error page", "error handler"))]
    pub fn answer<F, V, Res, E>(answer: F) -> FallbackLayer<Plain, ComputedAnswer<F>>
    where
        // Checked again when the layer wraps a service. Here the bound makes a closure without
        // types general over the lifetimes.
        F: Fn(Verdict, Result<&Res, &E>) -> V,
    {
        FallbackLayer::of(ComputedAnswer::new(answer))
    }

    /// Sends the request to the alternative `service`, whose error type must be that of the inner
    /// service.
    ///
    /// The request must be replayable: in `Plain` mode `Clone`, over HTTP with a body that
    /// `buttress-http` can send again. Each call clones `service`, so an expensive clone costs
    /// successful calls, too.
    #[doc(alias("replica", "secondary", "failover"))]
    pub fn service<T: Clone>(service: T) -> FallbackLayer<Plain, AlternativeService<T>> {
        FallbackLayer::of(AlternativeService::new(service))
    }
}

impl<M, T, J> FallbackLayer<M, AlternativeService<T>, J> {
    /// Limits the calls of the alternative service that run at a time, from the wait for its
    /// readiness to the head of its response. Default: 10. With 0, the alternative is never called.
    ///
    /// A call beyond the limit returns its first outcome at once. The limit bounds the load that an
    /// outage of the inner service puts on the alternative. All services of the layer share the
    /// number of running calls.
    #[doc(alias("bulkhead", "max concurrent calls"))]
    pub fn at_most(self, calls: u32) -> Self {
        self.with(|settings| settings.at_most = calls)
    }
}

impl<M, A, J> FallbackLayer<M, A, J> {
    /// Sets the verdicts that are answered. Default: all except `Success`, `Permanent`, and the
    /// rejections `Superseded` and `NeverAdmissible`.
    ///
    /// A success is never answered, whatever the closure returns.
    #[doc(alias("should_handle", "predicate"))]
    pub fn when(self, is_answered: impl Fn(Verdict) -> bool + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.selection = Selection::Chosen(Arc::new(is_answered)))
    }

    /// Replaces the mode's classification of outcomes. Default: the mode's.
    ///
    /// Takes a closure `|outcome: Result<&Response, &Error>| -> Verdict`, or any
    /// [`Classify`](buttress_core::Classify). Write the type of the closure's argument out.
    /// Otherwise the closure is not general enough for the compiler. The response of an alternative
    /// [`service`](FallbackLayer::service) is judged by the same classifier.
    pub fn classify<J2>(self, classify: J2) -> FallbackLayer<M, A, By<J2>> {
        let Self { settings, alternative, mode, .. } = self;
        FallbackLayer { settings, alternative, mode, judge: By(classify) }
    }

    /// Moves the wait for readiness from `poll_ready` into the call, so that the fallback also
    /// covers errors of readiness. Default: off.
    ///
    /// `poll_ready` is then ready at once, and callers see no backpressure. The wait has no limit
    /// except a deadline layer inside or outside. Each call allocates once.
    #[doc(alias("backpressure", "oneshot"))]
    pub fn await_ready(self) -> Self {
        self.with(|settings| settings.readiness = Readiness::InCall)
    }

    /// Counts and reports the outcomes that would be answered, and answers none. Default: off.
    ///
    /// The alternative service is not called, and no request is kept.
    #[doc(alias("shadow mode", "dry run"))]
    pub fn observe(self) -> Self {
        self.with(|settings| settings.enforcement = Enforcement::Observe)
    }

    /// Gives each service counters and a number of running alternative calls of its own. Default:
    /// all services of the layer share them.
    ///
    /// The clones of a service share them. [`Fallback::handle`] reads them. The layer's own handle
    /// then counts nothing.
    pub fn per_service(self) -> Self {
        self.with(|settings| settings.scope = StateScope::PerService)
    }

    /// Sets the name of this instance in events and in [`Degraded`](buttress_core::Degraded).
    /// Default: `"fallback"`.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|settings| settings.origin = settings.origin.clone().named(name))
    }

    /// Returns a handle to the live numbers of all services of this layer.
    pub fn handle(&self) -> FallbackHandle {
        FallbackHandle::new(&self.settings)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<A> FallbackLayer<Plain, A> {
    fn of(alternative: A) -> Self {
        Self { settings: Arc::new(Settings::new()), alternative, mode: Plain, judge: ByMode }
    }
}

impl<S, M: Clone, A: Clone, J: Clone> Layer<S> for FallbackLayer<M, A, J> {
    type Service = Fallback<S, M, A, J>;

    fn layer(&self, inner: S) -> Self::Service {
        let (alternative, mode) = (self.alternative.clone(), self.mode.clone());
        Fallback::new(inner, self.settings.for_service(), alternative, mode, self.judge.clone())
    }
}

impl<M0, M, A, J> Bind<M> for FallbackLayer<M0, A, J> {
    type Bound = FallbackLayer<M, A, J>;

    fn bind(self, mode: M) -> FallbackLayer<M, A, J> {
        let Self { settings, alternative, judge, .. } = self;
        FallbackLayer { settings, alternative, mode, judge }
    }
}
