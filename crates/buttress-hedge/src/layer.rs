use std::{borrow::Cow, sync::Arc, time::Duration};

use buttress_control::Ratio;
use buttress_core::{Bind, By, ByMode, Enforcement, Plain, StateScope};
use buttress_state::Budget;
use tower_layer::Layer;

use crate::{
    Hedge, HedgeHandle, SkipNone,
    settings::{OnFailure, Settings},
    state::HedgeRule,
};

/// Sends a second copy of a request if the first takes long, and returns the first answer.
///
/// Clones of a layer and all its services share the rule, the most hedges, the budgets, the counters
/// and the learned latency, except under [`per_service`](Self::per_service). No option changes a clone
/// made before.
#[derive(Clone, Debug)]
#[doc(alias("hedged request", "backup request", "speculative retry", "tail latency"))]
pub struct HedgeLayer<M = Plain, F = SkipNone, J = ByMode> {
    settings: Arc<Settings>,
    mode: M,
    skip: F,
    judge: J,
}

impl HedgeLayer {
    /// Creates a layer that sends a hedge after a fixed delay. The delay counts from the first poll
    /// that finds the call pending.
    ///
    /// Zero sends all hedges in that poll. Thirty years or more
    /// ([`Deadline::NEVER`](buttress_core::Deadline::NEVER)) send none, except those of
    /// [`after_failures`](Self::after_failures).
    #[doc(alias = "hedging_delay")]
    pub fn after(delay: Duration) -> Self {
        Self::new(HedgeRule::After(delay))
    }

    /// Creates a layer that hedges the slowest 5 % of the calls, and none before 10 ms:
    /// [`at`](Self::at) 95 % and 10 ms.
    pub fn learned() -> Self {
        Self::at(Ratio::percent(95), Duration::from_millis(10))
    }

    /// Creates a layer that sends a hedge after this quantile of the observed latency, and not
    /// before `least`. The delay counts from the call.
    ///
    /// No hedge is sent before the quantile is known, nor while the quantile exceeds 128 s. A
    /// quantile of 0 makes `least` a fixed delay. A quantile above 100 % counts as 100 %. `least`
    /// may be 0.
    #[doc(alias("percentile", "p95"))]
    pub fn at(quantile: Ratio, least: Duration) -> Self {
        Self::new(HedgeRule::At(quantile, least))
    }

    fn new(rule: HedgeRule) -> Self {
        let settings = Arc::new(Settings::new(rule));
        Self { settings, mode: Plain, skip: SkipNone, judge: ByMode }
    }
}

impl<M, F, J> HedgeLayer<M, F, J> {
    /// Sets the maximum number of hedges for each call. Default: 1. Zero turns the layer off, and the
    /// request is not cloned. More than 100 count as 100.
    ///
    /// Returns a layer with fresh counters and a fresh learned latency. Clones and handles made
    /// before keep theirs.
    #[doc(alias = "max_hedged_attempts")]
    pub fn at_most(self, hedges: u32) -> Self {
        self.with(|settings| settings.set_at_most(hedges))
    }

    /// Sets the layer's own budget, which limits the hedges to a share of the calls. Default: 5 % of
    /// the calls of the last 10 s, and none beside. So fewer than 20 calls in 10 s pay for no hedge.
    /// A client with so little traffic needs hedges per second too, such as
    /// `Budget::new(Ratio::percent(5), 1)`.
    ///
    /// Each call earns its ratio. A ratio above 100 % earns no more than [`at_most`](Self::at_most)
    /// hedges per call can use. If an outer retry has the same account, that retry counts the calls. An
    /// inner retry with the same account counts each call again.
    ///
    /// Only a budget by ratio earns from the calls of this layer. [`Budget::tokens`] earns only with
    /// time, if the bucket refills. [`Budget::throttle`] limits hedges only by the outcomes that a
    /// retry with the same account reports.
    #[doc(alias = "max_extra_load")]
    pub fn budget(self, budget: Budget) -> Self {
        self.with(|settings| settings.set_budget(budget))
    }

    /// Adds a budget that each hedge is paid from as well, such as that of an outer retry. Default:
    /// `None`.
    ///
    /// The calls of this layer earn nothing there, because the layer that owns the budget counts
    /// them. A hedge needs both payments. If this is the layer's own account too, a hedge costs two.
    pub fn share(self, budget: impl Into<Option<Budget>>) -> Self {
        let budget = budget.into();
        self.with(|settings| settings.shared_budget = budget)
    }

    /// Returns the budget that [`share`](Self::share) gave.
    pub fn shared_budget(&self) -> Option<&Budget> {
        self.settings.shared_budget.as_ref()
    }

    /// Sends the next hedge at once when a try has failed, as gRPC does (gRFC A6), until
    /// [`at_most`](Self::at_most) are sent. Default: a failure makes no hedge.
    ///
    /// Applies to failures that may be repeated: transient, timed out and never processed. If the
    /// last running try fails in another way, or an inner retry gave up, no hedge follows.
    ///
    /// If the server named the time of the next hedge, the call waits for that hedge while no try
    /// runs, up to 60 s if there is no deadline. The wait for the readiness of that hedge [ends too](crate#readiness).
    pub fn after_failures(self) -> Self {
        self.with(|settings| settings.on_failure = OnFailure::Hedge)
    }

    /// Passes a request for which `skip` returns true through: it is neither hedged nor kept, earns
    /// nothing, and is not timed. Default: none.
    ///
    /// Takes a closure `|request: &Request| -> bool`, or any [`Skip`](crate::Skip).
    pub fn skip<F2>(self, skip: F2) -> HedgeLayer<M, F2, J> {
        HedgeLayer { settings: self.settings, mode: self.mode, skip, judge: self.judge }
    }

    /// Replaces the mode's classification of outcomes. Default: the mode's.
    ///
    /// Takes a closure `|outcome: Result<&Response, &Error>| -> Verdict`, or any
    /// [`Classify`](buttress_core::Classify). Write the type of the closure's argument out.
    /// Otherwise the closure is not general enough for the compiler.
    pub fn classify<J2>(self, classify: J2) -> HedgeLayer<M, F, By<J2>> {
        HedgeLayer {
            settings: self.settings,
            mode: self.mode,
            skip: self.skip,
            judge: By(classify),
        }
    }

    /// Counts and reports the hedges that would be sent, and sends none. Default: off.
    ///
    /// The budgets are charged as for a real hedge. `hedge.sent` is emitted with `observed = true`.
    /// Each call returns the outcome of its first try.
    #[doc(alias("shadow mode", "dry run"))]
    pub fn observe(self) -> Self {
        self.with(|settings| settings.enforcement = Enforcement::Observe)
    }

    /// Gives each service a rule, a number of hedges, counters, a learned latency and a default
    /// budget of its own. Default: all services of the layer share them.
    ///
    /// Budgets given by [`budget`](Self::budget) and [`share`](Self::share) stay shared. The clones
    /// of one service share its state, which [`Hedge::handle`] reads. The layer's own handle then
    /// counts nothing.
    pub fn per_service(self) -> Self {
        self.with(|settings| settings.scope = StateScope::PerService)
    }

    /// Sets the name of this instance in events. Default: `"hedge"`.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|settings| settings.origin = settings.origin.clone().named(name))
    }

    /// Returns a handle to the live numbers of all services of this layer.
    pub fn handle(&self) -> HedgeHandle {
        HedgeHandle::new(&self.settings)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S, M: Clone, F: Clone, J: Clone> Layer<S> for HedgeLayer<M, F, J> {
    type Service = Hedge<S, M, F, J>;

    fn layer(&self, inner: S) -> Self::Service {
        let settings = self.settings.for_service();
        let (mode, skip, judge) = (self.mode.clone(), self.skip.clone(), self.judge.clone());
        Hedge::new(inner, settings, mode, skip, judge)
    }
}

impl<M0, M, F, J> Bind<M> for HedgeLayer<M0, F, J> {
    type Bound = HedgeLayer<M, F, J>;

    fn bind(self, mode: M) -> HedgeLayer<M, F, J> {
        HedgeLayer { settings: self.settings, mode, skip: self.skip, judge: self.judge }
    }
}
