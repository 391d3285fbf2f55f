use std::time::Duration;

/// How fresh a kept answer must be for a request, in the words of [RFC 9111], section 5.2.1.
///
/// The default is any answer that may be given out.
///
/// [RFC 9111]: https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedFreshness {
    /// The age that the answer must not exceed. Zero: no kept answer will do.
    pub max_age: Option<Duration>,
    /// For how much longer the answer must be fresh.
    pub min_fresh: Duration,
    /// For how long the answer may have been stale. `None` leaves it to the answer and the layer, unless
    /// there is a `max_age` or a `min_fresh`: then the answer must be fresh.
    pub max_stale: Option<Duration>,
    /// Only a kept answer will do: the service is not asked.
    pub only_if_cached: bool,
}

impl WantedFreshness {
    /// Returns whether an answer of this `age` will do that is fresh for the time `left`.
    #[inline]
    pub fn accepts_fresh(&self, age: Duration, left: Duration) -> bool {
        self.accepts_age(age) && left >= self.min_fresh
    }

    /// Returns whether an answer of this `age` will do that ceased to be fresh so long ago.
    #[inline]
    pub fn accepts_stale(&self, age: Duration, stale_for: Duration) -> bool {
        let limit = match self.max_stale {
            Some(limit) => stale_for <= limit,
            None => self.max_age.is_none(),
        };
        limit && self.min_fresh.is_zero() && self.accepts_age(age)
    }

    /// An answer is not new at the instant at which it is kept: `max-age=0` always asks the service.
    fn accepts_age(&self, age: Duration) -> bool {
        self.max_age.is_none_or(|most| !most.is_zero() && age <= most)
    }
}
