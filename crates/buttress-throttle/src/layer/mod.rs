use std::sync::Arc;

use buttress_control::{AcceptRatio, Adapt, Rate, Rates};
use buttress_core::{Bind, ByMode, KeyOf, Plain, StateScope};
use tower_layer::Layer;

use crate::{
    AcceptRatioLimit, ConcurrencyLimit, Keyed, RateLimit, Throttle, ThrottleHandle,
    concurrency::{Adaptive, Fixed},
    limit::{LimitTemplate, Settings},
    rate::UnitCost,
};

mod ignore_outcome;
mod options;

pub use self::ignore_outcome::IgnoreOutcome;

/// Lets through as many calls as the service behind it can bear.
///
/// All clones of a layer, and all services it makes, share one limit, unless it is
/// [`per_service`](Self::per_service). What belongs to the limit is shared too: setting
/// [`queue`](ThrottleLayer::queue), `max_wait`, `codel`, `adaptive_lifo` or `max_keys`, or the `seed` of an
/// accept ratio, sets it for all of them. All other options are those of this layer and of what is made
/// from it afterwards.
#[derive(Clone, Debug)]
#[doc(alias("limiter", "load shedding"))]
pub struct ThrottleLayer<M = Plain, L = ConcurrencyLimit, J = IgnoreOutcome> {
    limit: L,
    settings: Arc<Settings>,
    mode: M,
    judge: J,
}

impl ThrottleLayer {
    /// At most `limit` calls at a time. None at all for 0.
    #[doc(alias("bulkhead", "semaphore", "max in flight"))]
    pub fn concurrency(limit: u32) -> Self {
        Self::of(ConcurrencyLimit::new(limit, Fixed), IgnoreOutcome)
    }
}

impl ThrottleLayer<Plain, RateLimit> {
    /// At most `rate` calls per unit of time, as [`Rate`] says.
    #[doc(alias("rate limiter", "GCRA", "leaky bucket", "token bucket"))]
    pub fn rate(rate: Rate) -> Self {
        Self::rates(Rates::new(rate))
    }

    /// At most as many calls as each of several rates allows: 10 a second and 100 a minute, say.
    pub fn rates(rates: Rates) -> Self {
        Self::of(RateLimit::new(rates, UnitCost), IgnoreOutcome)
    }
}

impl<L: Adapt> ThrottleLayer<Plain, ConcurrencyLimit<Adaptive<L>>, ByMode> {
    /// As many calls at a time as `law` finds the service can bear, going by how long it takes.
    ///
    /// On a server, any law. On a client whose service has other clients, [`Trend`](crate::Trend): the
    /// other laws can climb together, as [`Adapt`] says.
    ///
    /// The law learns from calls that came near the limit. A call that ran out of time, here or
    /// further in, or that the service shed, is a sign of overload. One that was given up earlier took at
    /// least as long as it lasted. The time that its caller needs to send a request is no part of any call. The
    /// crate's documentation lists [what a limit learns from](crate#what-limits-learn-from).
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
    /// Sends at most about twice as many calls as the service accepts, and one in ten at the least:
    /// client-side throttling as in the [SRE book](https://sre.google/sre-book/handling-overload/), with
    /// a multiplier of 2, a window of two minutes and a cap of 90 %. Rejects nothing while fewer than 20
    /// calls of a criticality count in the window.
    ///
    /// A call counts when it is answered, or when it is late: out for twice the usual latency. It counts as
    /// accepted when it succeeds or a server answers that it fails for good. It does not count at all when it is
    /// given up before it is late, rejected by a layer below, or fails on this side. The crate's documentation lists
    /// [what a limit learns from](crate#what-limits-learn-from).
    #[doc(alias("client-side throttling", "adaptive throttling"))]
    pub fn accept_ratio() -> Self {
        Self::accept_ratio_with(&AcceptRatio::new().min_requests(20))
    }

    /// The same with other numbers.
    pub fn accept_ratio_with(law: &AcceptRatio) -> Self {
        Self::of(AcceptRatioLimit::new(law), ByMode)
    }
}

impl<M, L, J> ThrottleLayer<M, L, J> {
    /// Gives each key a limit of its own: a tenant, a host, a method. A request without a key is not
    /// limited at all. See [`Keyed`].
    #[doc(alias("per tenant", "per key"))]
    pub fn keyed<Req, F>(self, key: F) -> ThrottleLayer<M, Keyed<L, F::Key, F>, J>
    where
        L: LimitTemplate + Clone,
        F: KeyOf<Req>,
    {
        let limit = Keyed::new(self.limit.fresh(), key);
        self.over(limit)
    }

    /// Live numbers of the limit, and the means to change it.
    pub fn handle(&self) -> ThrottleHandle<L::View>
    where
        L: LimitTemplate,
    {
        ThrottleHandle::new(self.limit.view(), &self.settings)
    }

    /// The same layer over a limit in its first state, with rejections counted from zero.
    fn over<T>(self, limit: T) -> ThrottleLayer<M, T, J> {
        let Self { settings, mode, judge, .. } =
            self.with(|settings| settings.rejected = Arc::default());
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
            StateScope::Layer => self.limit.clone(),
            StateScope::Service => self.limit.fresh(),
        };
        let (mode, judge) = (self.mode.clone(), self.judge.clone());
        Throttle::new(inner, limit, Arc::clone(&self.settings), mode, judge)
    }
}

impl<M0, M, L, J> Bind<M> for ThrottleLayer<M0, L, J> {
    type Bound = ThrottleLayer<M, L, J>;

    fn bind(self, mode: M) -> ThrottleLayer<M, L, J> {
        ThrottleLayer { limit: self.limit, settings: self.settings, mode, judge: self.judge }
    }
}
