use std::sync::Arc;

use buttress_control::{AcceptRatio, Adapt, Rate, Rates};
use buttress_core::{Bind, ByMode, FixedKey, KeyOf, Plain, StateScope};
use tower_layer::Layer;

use crate::{
    AcceptRatioLimit, ConcurrencyLimit, Keyed, RateLimit, Throttle, ThrottleHandle,
    concurrency::{Adaptive, Fixed},
    limit::{LimitPerKey, LimitTemplate, Queue, Settings},
    rate::{RateState, UnitCost},
};

mod ignore_outcome;
mod options;

pub use self::ignore_outcome::IgnoreOutcome;

/// Limits how many calls reach the inner service: at a time, per unit of time, or by the calls that
/// the service accepts.
///
/// All clones of a layer, and all services it makes, share a limit, unless the layer is
/// [`per_service`](Self::per_service). An option that defines shared state ([`queue`](Self::queue),
/// [`keyed`](Self::keyed), [`per`](Self::per), [`max_keys`](ThrottleLayer::max_keys), [`seed`](Self::seed), and after
/// `keyed` also [`cost`](Self::cost)) returns a layer with fresh state and counters. Clones and
/// handles made before keep the former state. Every other option changes this value only.
#[derive(Clone, Debug)]
#[doc(alias("limiter", "load shedding"))]
pub struct ThrottleLayer<M = Plain, L = ConcurrencyLimit, J = IgnoreOutcome> {
    limit: L,
    settings: Arc<Settings>,
    mode: M,
    judge: J,
}

impl ThrottleLayer {
    /// Limits the number of calls at a time. 0: no call is admitted.
    #[doc(alias("bulkhead", "semaphore", "max in flight"))]
    pub fn concurrency(limit: u32) -> Self {
        Self::of(ConcurrencyLimit::new(limit, Fixed), IgnoreOutcome)
    }
}

impl ThrottleLayer<Plain, RateLimit> {
    /// Limits the number of calls per unit of time to this [`Rate`].
    #[doc(alias("rate limiter", "GCRA", "leaky bucket", "token bucket"))]
    pub fn rate(rate: Rate) -> Self {
        Self::rates(Rates::new(rate))
    }

    /// Limits the number of calls by several rates at once, for example 10 per second and 100 per
    /// minute. A call must fit each of them.
    pub fn rates(rates: Rates) -> Self {
        Self::of(RateLimit::new(RateState::new(rates), &Queue::new(0), UnitCost), IgnoreOutcome)
    }
}

impl<L: Adapt> ThrottleLayer<Plain, ConcurrencyLimit<Adaptive<L>>, ByMode> {
    /// Limits the number of calls at a time by a law that learns from latency and timeouts.
    ///
    /// On a server, use any law. On a client whose service has other clients, use
    /// [`Trend`](crate::Trend): the other laws can raise each other's limits, as [`Adapt`] says.
    ///
    /// The law learns from calls that were admitted near the limit. A call that ran out of time,
    /// here or further in, or that the service shed, is a sign of overload. A call that was given
    /// up earlier took at least as long as it lasted. The time that a caller needs to send its
    /// request is not part of any call. The crate's documentation lists [what a limit learns
    /// from](crate#what-limits-learn-from).
    ///
    /// ```
    /// use buttress_throttle::{Gradient2, ThrottleLayer};
    ///
    /// let layer = ThrottleLayer::adaptive(Gradient2::default().initial(50)).queue(100);
    /// assert_eq!(layer.handle().limit(), 50);
    /// ```
    #[doc(alias("adaptive concurrency", "concurrency limits"))]
    pub fn adaptive(law: L) -> Self {
        Self::of(ConcurrencyLimit::new(law.limit().max(1), Adaptive::new(law)), ByMode)
    }
}

impl ThrottleLayer<Plain, AcceptRatioLimit, ByMode> {
    /// Limits the calls to about twice as many as the service accepts, and sends at least 10 % of
    /// them.
    ///
    /// This is client-side throttling as in the [SRE
    /// book](https://sre.google/sre-book/handling-overload/), with a multiplier of 2, a window of
    /// two minutes and a cap of 90 %. While fewer than 20 calls of a criticality count in the
    /// window, none is rejected.
    ///
    /// A call counts when it is answered, or when it is late: in flight for twice the usual
    /// latency. A call counts as accepted if it succeeds, or if a server answers with a permanent
    /// failure. A call does not count if it is given up before it is late, is rejected by a layer
    /// below, or fails on this side. The crate's documentation lists [what a limit learns
    /// from](crate#what-limits-learn-from).
    #[doc(alias("client-side throttling", "adaptive throttling"))]
    pub fn accept_ratio() -> Self {
        Self::accept_ratio_with(&AcceptRatio::new().min_requests(20))
    }

    /// Limits the calls as [`accept_ratio`](Self::accept_ratio) does, with the numbers of `law`.
    pub fn accept_ratio_with(law: &AcceptRatio) -> Self {
        Self::of(AcceptRatioLimit::new(law), ByMode)
    }
}

impl<M, L, J> ThrottleLayer<M, L, J> {
    /// Gives each key, such as a tenant, a host or a method, a limit of its own. A request without
    /// a key is not limited. See [`Keyed`].
    ///
    /// Returns a layer with fresh state.
    #[doc(alias("per tenant", "per key"))]
    pub fn keyed<Req, F>(self, key: F) -> ThrottleLayer<M, Keyed<L, F::Key, F>, J>
    where
        L: LimitPerKey<F::Key> + Clone,
        F: KeyOf<Req>,
    {
        let limit = Keyed::new(self.limit.fresh(), key);
        self.over(limit)
    }

    /// Gives each key a limit of its own, as [`keyed`](Self::keyed) does. For a key whose type does
    /// not depend on the request, such as `buttress_http::Authority`, the host of a request.
    ///
    /// Returns a layer with fresh state.
    #[doc(alias("per host", "per authority"))]
    pub fn per<F>(self, key: F) -> ThrottleLayer<M, Keyed<L, <F as FixedKey>::Key, F>, J>
    where
        L: LimitPerKey<<F as FixedKey>::Key> + Clone,
        F: FixedKey,
    {
        let limit = Keyed::new(self.limit.fresh(), key);
        self.over(limit)
    }

    /// Returns the handle of the limit: live numbers and setters.
    pub fn handle(&self) -> ThrottleHandle<L::View>
    where
        L: LimitTemplate,
    {
        ThrottleHandle::new(self.limit.view(), &self.settings)
    }

    /// The same layer over another limit, with rejections counted from zero.
    fn over<T>(self, limit: T) -> ThrottleLayer<M, T, J> {
        let Self { settings, mode, judge, .. } = self.with(Settings::reset_rejected);
        ThrottleLayer { limit, settings, mode, judge }
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<L, J> ThrottleLayer<Plain, L, J> {
    fn of(limit: L, judge: J) -> Self {
        Self { limit, settings: Arc::new(Settings::new()), mode: Plain, judge }
    }
}

impl<S, M, L, J> Layer<S> for ThrottleLayer<M, L, J>
where
    L: LimitTemplate + Clone,
    M: Clone,
    J: Clone,
{
    type Service = Throttle<S, M, L, J>;

    fn layer(&self, inner: S) -> Self::Service {
        let limit = match self.settings.scope {
            StateScope::PerLayer => self.limit.clone(),
            StateScope::PerService => self.limit.fresh(),
        };
        let (mode, judge) = (self.mode.clone(), self.judge.clone());
        Throttle::new(inner, limit, self.settings.for_service(), mode, judge)
    }
}

impl<M0, M, L, J> Bind<M> for ThrottleLayer<M0, L, J> {
    type Bound = ThrottleLayer<M, L, J>;

    fn bind(self, mode: M) -> ThrottleLayer<M, L, J> {
        ThrottleLayer { limit: self.limit, settings: self.settings, mode, judge: self.judge }
    }
}
