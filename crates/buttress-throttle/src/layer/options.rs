use std::{borrow::Cow, sync::Arc, time::Duration};

use buttress_control::Random;
use buttress_core::{By, Enforcement, Extent, StateScope};

use super::ThrottleLayer;
use crate::{
    Keyed,
    limit::{ConcurrencyBased, LimitTemplate, Queue, Queued, QuotaHeaders, RateBased, Seeded},
};

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
}
