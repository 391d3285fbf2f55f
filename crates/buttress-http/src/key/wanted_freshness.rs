use std::time::Duration;

use buttress_core::WantedFreshness;
use http::{
    HeaderMap,
    header::{CACHE_CONTROL, PRAGMA},
};

use super::headers::NameFilter;
use crate::{
    message::directives::directives,
    message::header_value::{members, number},
};

/// The freshness that a request with these headers demands of a cached response (RFC 9111, section
/// 5.2.1). `None` if the request wants a call of its own: `no-store`, `no-cache`, or `Pragma:
/// no-cache` without `Cache-Control` (section 5.4).
pub(crate) fn wanted(headers: &HeaderMap, filter: NameFilter) -> Option<WantedFreshness> {
    if filter.may_contain(&CACHE_CONTROL) && headers.contains_key(CACHE_CONTROL) {
        return Wanted::of(headers).freshness();
    }
    let pragma = || members(headers, &PRAGMA).any(|said| said.eq_ignore_ascii_case(b"no-cache"));
    (!filter.may_contain(&PRAGMA) || !pragma()).then(WantedFreshness::default)
}

/// The directives of a request. Unknown and malformed directives have no effect (section 5.2.3),
/// and the stricter of two counts.
#[derive(Default)]
struct Wanted {
    no_cache: bool,
    no_store: bool,
    freshness: WantedFreshness,
}

impl Wanted {
    fn of(headers: &HeaderMap) -> Self {
        let mut wanted = Self::default();
        directives(headers)
            .for_each(|directive| wanted.add(directive.name(), directive.argument()));
        wanted
    }

    /// Adds a well-formed directive.
    fn add(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let Some(argument) = argument else { return };
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        let seconds = number(argument).map(Duration::from_secs);
        let least =
            |before: Option<Duration>, limit| Some(before.map_or(limit, |was| was.min(limit)));
        let WantedFreshness { max_age, min_fresh, max_stale, only_if_cached } = &mut self.freshness;
        match seconds {
            Some(seconds) if is(b"max-age") => *max_age = least(*max_age, seconds),
            Some(seconds) if is(b"min-fresh") => *min_fresh = seconds.max(*min_fresh),
            Some(seconds) if is(b"max-stale") => *max_stale = least(*max_stale, seconds),
            // However stale the response is.
            None if is(b"max-stale") && argument.is_empty() => {
                *max_stale = least(*max_stale, Duration::MAX);
            }
            _ if is(b"only-if-cached") => *only_if_cached = true,
            _ if is(b"no-cache") => self.no_cache = true,
            _ if is(b"no-store") => self.no_store = true,
            _ => {}
        }
    }

    /// `only-if-cached` forbids a call of the service, so `no-store` has nothing to forbid.
    fn freshness(self) -> Option<WantedFreshness> {
        let Self { no_cache, no_store, freshness } = self;
        match (freshness.only_if_cached, no_cache) {
            (true, true) => Some(WantedFreshness { max_age: Some(Duration::ZERO), ..freshness }),
            (true, false) => Some(freshness),
            (false, _) => (!no_cache && !no_store).then_some(freshness),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const ANY: WantedFreshness = WantedFreshness {
        max_age: None,
        min_fresh: Duration::ZERO,
        max_stale: None,
        only_if_cached: false,
    };

    #[test]
    fn wanted_freshness_follows_the_table() {
        let max_age = |seconds| Some(WantedFreshness { max_age: Some(secs(seconds)), ..ANY });
        let min_fresh = |seconds| Some(WantedFreshness { min_fresh: secs(seconds), ..ANY });
        let max_stale = |limit| Some(WantedFreshness { max_stale: Some(limit), ..ANY });
        let only = WantedFreshness { only_if_cached: true, ..ANY };
        for (line, expected) in [
            ("", Some(ANY)),
            ("no-store", None),
            ("No-Cache", None),
            ("no-cache=\"x\"", None),
            ("max-age=60, no-store", None),
            ("max-age=0", max_age(0)),
            ("MAX-AGE=259200", max_age(259_200)),
            ("max-age=\"60\"", max_age(60)),
            ("max-age=60, max-age=5", max_age(5)),
            ("max-age=99999999999999999999", max_age(u64::MAX)),
            ("min-fresh=20", min_fresh(20)),
            ("min-fresh=20, min-fresh=30", min_fresh(30)),
            ("max-stale", max_stale(Duration::MAX)),
            ("max-stale=60", max_stale(secs(60))),
            ("max-stale=60, max-stale", max_stale(secs(60))),
            ("only-if-cached", Some(only)),
            ("only-if-cached, no-store", Some(only)),
            ("only-if-cached, no-cache", Some(WantedFreshness { max_age: Some(secs(0)), ..only })),
            // Unknown, or malformed: without effect.
            ("no-transform", Some(ANY)),
            ("stale-if-error=60", Some(ANY)),
            ("private, must-revalidate, s-maxage=1", Some(ANY)),
            ("community=\"no-store\"", Some(ANY)),
            ("max-age", Some(ANY)),
            ("max-age=", Some(ANY)),
            ("max-age=-1", Some(ANY)),
            ("max-age=1.5", Some(ANY)),
            ("max-age=x, min-fresh=x, max-stale=x", Some(ANY)),
            ("max-age=5; no-store", Some(ANY)),
            ("no-store x", Some(ANY)),
            ("x=\"max-age=5", Some(ANY)),
        ] {
            assert_eq!(read(&[("cache-control", line)]), expected, "{line}");
        }
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        assert_eq!(read(&[("pragma", "No-Cache")]), None);
        assert_eq!(read(&[("pragma", "x, no-cache")]), None);
        assert_eq!(read(&[("pragma", "x=no-cache")]), Some(ANY));
        assert_eq!(read(&[("pragma", "no-cache"), ("cache-control", "x")]), Some(ANY));
        assert_eq!(read(&[("pragma", "x"), ("cache-control", "no-cache")]), None);
    }

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn read(fields: &[(&'static str, &'static str)]) -> Option<WantedFreshness> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        wanted(&headers, NameFilter::of(&headers))
    }
}
