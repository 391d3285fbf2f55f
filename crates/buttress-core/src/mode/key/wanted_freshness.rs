use std::time::Duration;

/// The freshness that a request demands of a cached response ([RFC 9111], section 5.2.1).
///
/// Default: no demand.
///
/// [RFC 9111]: https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedFreshness {
    /// The greatest accepted age. Zero accepts no cached response. `None` accepts any age.
    pub max_age: Option<Duration>,
    /// The least accepted time until the response becomes stale.
    pub min_fresh: Duration,
    /// The greatest accepted time since the response became stale. `None` leaves the decision to
    /// the response and the layer. With a `max_age` or a `min_fresh`, `None` accepts fresh
    /// responses only.
    pub max_stale: Option<Duration>,
    /// Accepts a cached response only: the service is not called.
    pub only_if_cached: bool,
}

impl WantedFreshness {
    /// Returns whether the request accepts a response of this `age` that stays fresh for the time
    /// `left`.
    #[inline]
    pub fn accepts_fresh(&self, age: Duration, left: Duration) -> bool {
        self.accepts_age(age) && left >= self.min_fresh
    }

    /// Returns whether the request accepts a response of this `age` that became stale the time
    /// `stale_for` ago.
    #[inline]
    pub fn accepts_stale(&self, age: Duration, stale_for: Duration) -> bool {
        let limit = match self.max_stale {
            Some(limit) => stale_for <= limit,
            None => self.max_age.is_none(),
        };
        limit && self.min_fresh.is_zero() && self.accepts_age(age)
    }

    /// A response has an age even at the instant at which it is cached: `max-age=0` always calls
    /// the service.
    fn accepts_age(&self, age: Duration) -> bool {
        self.max_age.is_none_or(|most| !most.is_zero() && age <= most)
    }
}
