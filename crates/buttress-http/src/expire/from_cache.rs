use std::time::Duration;

use http::{Response, header::AGE};

/// The mark of a cached response, in the extensions of what a later caller receives.
///
/// `Age` states the age, too, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias("X-Cache", "cache hit"))]
pub struct FromCache {
    /// The time since the response was made, at its origin if that is known.
    pub age: Duration,
    /// Whether the response is stale, and served in place of none.
    pub stale: bool,
}

impl FromCache {
    /// Creates the mark of a response of this `age`.
    #[inline]
    pub const fn new(age: Duration, stale: bool) -> Self {
        Self { age, stale }
    }
}

/// Marks a cached response for a caller. An `Age` that the response came with is replaced.
pub(crate) fn mark_from_cache<B>(response: &mut Response<B>, age: Duration, stale: bool) {
    response.headers_mut().insert(AGE, age.as_secs().into());
    response.extensions_mut().insert(FromCache::new(age, stale));
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn cached_response_is_marked_with_its_age() {
        let mut response = Response::new(());
        response.headers_mut().append(AGE, HeaderValue::from_static("3"));
        response.headers_mut().append(AGE, HeaderValue::from_static("4"));
        let age = Duration::from_millis(10_999);
        mark_from_cache(&mut response, age, true);
        assert_eq!(response.headers().get_all(AGE).iter().collect::<Vec<_>>(), ["10"]);
        assert_eq!(response.extensions().get(), Some(&FromCache::new(age, true)));
    }
}
