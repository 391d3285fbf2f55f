use std::{borrow::Cow, sync::Arc, time::Duration};

use buttress_control::Random;
use buttress_core::{By, Enforcement, Extent, StateScope};

use super::ThrottleLayer;
use crate::{
    Fleet, Keyed, LocalRate,
    limit::{
        ConcurrencyBased, LimitTemplate, Queue, Queued, QuotaHeaders, RateBased, Seeded, Settings,
    },
};

impl<M, L, K, F, J> ThrottleLayer<M, Keyed<L, K, F>, J>
where
    L: LimitTemplate + Clone,
{
    /// Sets the maximum number of keys in use, approximately, because each shard of the table has
    /// its part of the maximum. All further keys share a limit. Default: 65,536. 0: all keys share
    /// a limit.
    ///
    /// Returns a layer with fresh state.
    pub fn max_keys(self, max: usize) -> Self
    where
        F: Clone,
    {
        let limit = self.limit.with_max_keys(max);
        self.over(limit)
    }
}

impl<M, L, J> ThrottleLayer<M, L, J> {
    /// Keeps the rate together with the other replicas of a [`Fleet`], through its store.
    ///
    /// Layers with the same [name](Self::named) and store share a rate. So give each rate of a fleet
    /// a name of its own, and the same in all replicas. For a rate per key, put this option before
    /// [`keyed`](Self::keyed).
    ///
    /// Returns a layer with fresh state.
    #[doc(alias("distributed", "redis", "global"))]
    // A parameter and not `L::InFleet` in the return type: a limit without that type would hide the
    // method, and the compiler would not say what `LocalRate` says.
    pub fn fleet<To>(self, fleet: Fleet) -> ThrottleLayer<M, To, J>
    where
        L: LocalRate<InFleet = To>,
    {
        let limit = self.limit.in_fleet(fleet);
        self.over(limit)
    }
}

impl<M, L, J> ThrottleLayer<M, L, J> {
    /// Sets the queue: its maximum length, or a [`Queue`] with more options. Default: 0 (reject at
    /// once).
    ///
    /// Returns a layer with fresh state.
    pub fn queue(self, queue: impl Into<Queue>) -> Self
    where
        L: Queued,
    {
        let limit = self.limit.with_queue(queue.into());
        self.over(limit)
    }

    /// Sets the cost of a request, in cells of the rate. Default: 1.
    ///
    /// The limit takes all cells of a request or none. A call that costs more than the burst is
    /// rejected with `NeverAdmissible`, in a [fleet](Self::fleet) one that costs more than the burst
    /// in the store. After [`keyed`](Self::keyed), this option returns a layer with fresh state.
    pub fn cost<C: Clone>(self, cost: C) -> ThrottleLayer<M, L::WithCost<C>, J>
    where
        L: RateBased,
    {
        let Self { limit, settings, mode, judge } = self;
        let layer = ThrottleLayer { limit: limit.with_cost(cost), settings, mode, judge };
        if L::COST_STARTS_FRESH { layer.with(Settings::reset_rejected) } else { layer }
    }

    /// Tells callers how much of the rate is left, as the mode does. Default: off.
    ///
    /// Over HTTP these are the headers `RateLimit` and `RateLimit-Policy`
    /// (draft-ietf-httpapi-ratelimit-headers-11).
    ///
    /// In a [fleet](Self::fleet) the remainder is that of the last grant, and the cells held here. While
    /// the store is away, the remainder is that of this replica's part. With `FailOpen` nothing is told
    /// then.
    pub fn advertise_quota(self) -> Self
    where
        L: RateBased,
    {
        self.with(|settings| settings.quota_headers = QuotaHeaders::Quotas)
    }

    /// Sets the delay after which a rejected call may come again. Default: none.
    ///
    /// The delay is drawn for each call, from at least `delay` to less than 1.5 times `delay`, so
    /// that the rejected calls do not all come back together. Without this option a caller is told
    /// no delay, because no limit knows when its calls will end. Over HTTP the delay is the header
    /// `Retry-After`, in whole seconds, rounded up. Over gRPC it is `grpc-retry-pushback-ms`. A
    /// call whose deadline passed in the queue is told no delay.
    pub fn retry_after(self, delay: Duration) -> Self
    where
        L: ConcurrencyBased,
    {
        self.with(|settings| settings.retry_after = Some(delay))
    }

    /// Seeds the random numbers, to make a run repeatable. Default: random.
    ///
    /// With an accept ratio, the same seed and the same order of calls give the same decisions.
    /// With a concurrency limit, the n-th rejection carries the same
    /// [`retry_after`](Self::retry_after).
    ///
    /// Returns a layer with fresh state.
    pub fn seed(self, seed: u64) -> Self
    where
        L: Seeded,
    {
        let limit = self.limit.with_seed(seed);
        self.over(limit).with(|settings| settings.random = Arc::new(Random::seeded(seed)))
    }

    /// Sets the classification of outcomes. Default: the mode's.
    ///
    /// Only limits that learn from outcomes use a classification:
    /// [`adaptive`](ThrottleLayer::adaptive) and [`accept_ratio`](ThrottleLayer::accept_ratio). A
    /// service with an error type of its own needs this option in `Plain` mode. Otherwise a
    /// rejection inside that error, such as an attempt's timeout, looks like any other failure.
    #[doc(alias("is_retryable", "retry predicate"))]
    pub fn classify<C>(self, classify: C) -> ThrottleLayer<M, L, By<C>> {
        let Self { limit, settings, mode, .. } = self;
        ThrottleLayer { limit, settings, mode, judge: By(classify) }
    }

    /// Returns a permit at the response head. Default: when the body has ended.
    #[doc(alias("streaming", "time to first byte"))]
    pub fn until_head(self) -> Self {
        self.with(|settings| settings.extent = Extent::UntilHead)
    }

    /// Counts and reports rejections, but rejects no call and makes no call wait. Default: off.
    ///
    /// A call that would be rejected is admitted without a permit, so that the counts are those of
    /// a layer that rejects. A call that would wait takes a permit at once. The layer does not
    /// predict the end of that wait.
    #[doc(alias("shadow mode", "dry run"))]
    pub fn observe(self) -> Self {
        self.with(|settings| settings.enforcement = Enforcement::Observe)
    }

    /// Gives each service of this layer a limit and counters of its own, for example for each
    /// endpoint of a balancer. Default: all services share them.
    ///
    /// The clones of a service share them. [`Throttle::handle`](crate::Throttle::handle) reads
    /// them. The layer's own handle then counts nothing. The random numbers of
    /// [`retry_after`](Self::retry_after) stay shared.
    ///
    /// Do not use this option with axum, which applies a layer once per route or request.
    pub fn per_service(self) -> Self {
        self.with(|settings| settings.scope = StateScope::PerService)
    }

    /// Sets the name of this instance in rejections and events. Default: `"throttle"`.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|settings| settings.origin = settings.origin.clone().named(name))
    }
}
