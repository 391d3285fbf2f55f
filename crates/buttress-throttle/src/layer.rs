use std::{borrow::Cow, sync::Arc, time::Duration};

use buttress_control::{AcceptRatio, Adapt, Random, Rate, Rates};
use buttress_core::{Bind, By, ByMode, Enforcement, Extent, KeyOf, Plain, StateScope};
use tower_layer::Layer;

use crate::{
    AcceptRatioLimit, ConcurrencyLimit, IgnoreOutcome, Keyed, RateLimit, Throttle, ThrottleHandle,
    concurrency::{Adaptive, Fixed},
    limit::{ConcurrencyBased, LimitTemplate, Queue, Queued, RateBased, Seeded},
    rate::UnitCost,
    settings::{QuotaHeaders, Settings},
};

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

impl<M, L, K, F, J> ThrottleLayer<M, Keyed<L, K, F>, J>
where
    L: LimitTemplate + Clone,
{
    /// Keeps the limits of up to about `max` keys in use apart; all further ones share one. 65,536 by
    /// default.
    pub fn max_keys(self, max: usize) -> Self
    where
        F: Clone,
    {
        let limit = self.limit.with_max_keys(max);
        self.over(limit)
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

    /// Sets the queue: its length, or a [`Queue`] with more options. Default: 0 (reject at once).
    ///
    /// Returns a layer with fresh state.
    pub fn queue(self, queue: impl Into<Queue>) -> Self
    where
        L: Queued,
    {
        let limit = self.limit.with_queue(queue.into());
        self.over(limit)
    }

    /// What a request weighs, in cells of the rate; by default one. All of its cells are taken, or
    /// none. A call that weighs more than the burst is rejected for good.
    pub fn cost<C: Clone>(self, cost: C) -> ThrottleLayer<M, L::WithCost<C>, J>
    where
        L: RateBased,
    {
        let Self { limit, settings, mode, judge } = self;
        ThrottleLayer { limit: limit.with_cost(cost), settings, mode, judge }
    }

    /// Tells callers how much of the rate is left, in the words of the mode: over HTTP the headers
    /// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11).
    pub fn advertise_quota(self) -> Self
    where
        L: RateBased,
    {
        self.with(|settings| settings.quota_headers = QuotaHeaders::Quotas)
    }

    /// Sets what a rejected call is told: to come again after at least `delay` and less than one and a
    /// half times that, drawn for each call, so that the rejected calls do not all come back together.
    /// Default: none.
    ///
    /// Without it a caller is told nothing, because no limit knows when its calls will end. Over HTTP it is
    /// the header `Retry-After`, in whole seconds, rounded up; over gRPC `grpc-retry-pushback-ms`. A call
    /// whose deadline passed in the queue is not told.
    pub fn retry_after(self, delay: Duration) -> Self
    where
        L: ConcurrencyBased,
    {
        self.with(|settings| settings.retry_after = Some(delay))
    }

    /// Makes chance repeatable: with an accept ratio, the same seed and the same order of calls give the same
    /// decisions; with a concurrency limit, the n-th rejection is told the same
    /// [`retry_after`](Self::retry_after). Default: random.
    ///
    /// Returns a layer with fresh state.
    pub fn seed(self, seed: u64) -> Self
    where
        L: Seeded,
    {
        let limit = self.limit.with_seed(seed);
        self.over(limit).with(|settings| settings.random = Arc::new(Random::seeded(seed)))
    }

    /// What an outcome means, in place of the mode's own classification. Only limits that learn from
    /// outcomes ask: [`adaptive`](ThrottleLayer::adaptive) and
    /// [`accept_ratio`](ThrottleLayer::accept_ratio).
    ///
    /// A service with an error type of its own needs it, in `Plain` mode: there a rejection inside it,
    /// an attempt's timeout too, looks like any other failure.
    #[doc(alias("is_retryable", "retry predicate"))]
    pub fn classify<C>(self, classify: C) -> ThrottleLayer<M, L, By<C>> {
        let Self { limit, settings, mode, .. } = self;
        ThrottleLayer { limit, settings, mode, judge: By(classify) }
    }

    /// Frees a permit at the response head. By default it is held until the body has ended.
    #[doc(alias("streaming", "time to first byte"))]
    pub fn until_head(self) -> Self {
        self.with(|settings| settings.extent = Extent::Head)
    }

    /// Counts and reports what would be rejected, and rejects nothing and makes nobody wait.
    ///
    /// A call that would be rejected goes through without a permit, so that the counts are those of a
    /// layer that rejects. One that would wait takes a permit at once, and what would have become of
    /// it in the queue is not foreseen.
    #[doc(alias("shadow mode", "dry run"))]
    pub fn observe(self) -> Self {
        self.with(|settings| settings.enforcement = Enforcement::Observe)
    }

    /// Gives every service this layer makes a limit of its own, where a balancer wants one for each
    /// endpoint. Do not use it with axum, which applies a layer once for each route or request.
    ///
    /// The numbers are those of each service's [handle](Throttle::handle); rejections are counted for
    /// all services together.
    pub fn per_service(self) -> Self {
        self.with(|settings| settings.scope = StateScope::Service)
    }

    /// Names this instance in rejections and events. `"throttle"` by default.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|settings| settings.origin = settings.origin.clone().named(name))
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
