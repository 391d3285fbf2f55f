use super::LimitTemplate;

/// A rate limit, or a rate limit for each key: [`RateLimit`](crate::RateLimit) or
/// [`Keyed`](crate::Keyed) of it.
///
/// This trait is sealed. Use it as a bound.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a rate, so its calls take no cells",
    note = "`.cost(..)` and `.advertise_quota()` are options of `ThrottleLayer::rate` and `rates`"
)]
pub trait RateBased: LimitTemplate {
    /// The same limit with another cost.
    #[doc(hidden)]
    type WithCost<C: Clone>: RateBased + Clone;

    /// Whether [`with_cost`](Self::with_cost) returns a limit in its first state.
    #[doc(hidden)]
    const COST_STARTS_FRESH: bool;

    #[doc(hidden)]
    fn with_cost<C: Clone>(self, cost: C) -> Self::WithCost<C>;
}

/// A concurrency limit, or a concurrency limit for each key:
/// [`ConcurrencyLimit`](crate::ConcurrencyLimit) or [`Keyed`](crate::Keyed) of it.
///
/// This trait is sealed. Use it as a bound.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not limit the number of calls at a time",
    note = "`.retry_after(..)` is an option of `ThrottleLayer::concurrency` and `adaptive`"
)]
pub trait ConcurrencyBased: LimitTemplate {}

/// A limit that draws random numbers: [`ConcurrencyLimit`](crate::ConcurrencyLimit),
/// [`AcceptRatioLimit`](crate::AcceptRatioLimit), or [`Keyed`](crate::Keyed) of those.
///
/// This trait is sealed. Use it as a bound.
#[diagnostic::on_unimplemented(message = "`{Self}` draws no random numbers")]
pub trait Seeded: LimitTemplate {
    /// The same limit in its first state, with this seed.
    #[doc(hidden)]
    #[must_use]
    fn with_seed(&self, seed: u64) -> Self;
}
