use http::HeaderMap;

use crate::message::{
    directives::{directives, words},
    header_value::number,
};

/// The `Cache-Control` of a response (RFC 9111, section 5.2.2, and RFC 5861), read in the strictest
/// way: a malformed directive forbids and never permits, and the shorter of two times counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a directive that is there or not")]
pub(crate) struct CacheControl {
    pub(crate) private: bool,
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) public: bool,
    /// In seconds, like the times below. A malformed time is zero.
    pub(crate) max_age: Option<u64>,
    pub(crate) s_maxage: Option<u64>,
    pub(crate) stale_while_revalidate: Option<u64>,
    pub(crate) stale_if_error: Option<u64>,
}

impl CacheControl {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        for directive in directives(headers) {
            match directive.argument() {
                Some(argument) => all.add(directive.name(), Some(argument)),
                // A forbidding word may be hidden in it, as in `max-age=60; private`.
                None => words(directive.name()).for_each(|word| all.add(word, None)),
            }
        }
        all
    }

    /// Adds a directive. `argument` is `None` if the directive is malformed.
    fn add(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        let seconds = argument.and_then(number).unwrap_or_default();
        let shorter = |time: &mut Option<u64>| {
            *time = Some(time.map_or(seconds, |time| time.min(seconds)));
        };
        // `private` and `no-cache` may name some fields only. They count for the whole response.
        if is(b"private") {
            self.private = true;
        } else if is(b"no-store") {
            self.no_store = true;
        } else if is(b"no-cache") {
            self.no_cache = true;
        } else if is(b"must-revalidate") {
            self.must_revalidate = true;
        } else if is(b"proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is(b"public") {
            self.public |= argument.is_some_and(<[u8]>::is_empty);
        } else if is(b"max-age") {
            shorter(&mut self.max_age);
        } else if is(b"s-maxage") {
            shorter(&mut self.s_maxage);
        } else if is(b"stale-while-revalidate") {
            shorter(&mut self.stale_while_revalidate);
        } else if is(b"stale-if-error") {
            shorter(&mut self.stale_if_error);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::CACHE_CONTROL};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cache_control_of_a_response_follows_the_table() {
        let nothing = CacheControl::default();
        let max_age = |seconds| CacheControl { max_age: Some(seconds), ..nothing };
        let private = CacheControl { private: true, ..nothing };
        let public = CacheControl { public: true, ..nothing };
        for (line, expected) in [
            ("", nothing),
            (" , ,", nothing),
            ("private", private),
            ("PriVate", private),
            ("private=\"x-a, x-b\"", private),
            ("private=x", private),
            ("public", public),
            ("public=no", nothing),
            ("public, private", CacheControl { public: true, ..private }),
            ("no-store", CacheControl { no_store: true, ..nothing }),
            ("NO-CACHE=\"Set-Cookie\"", CacheControl { no_cache: true, ..nothing }),
            ("must-revalidate", CacheControl { must_revalidate: true, ..nothing }),
            ("proxy-revalidate", CacheControl { proxy_revalidate: true, ..nothing }),
            ("max-age=60", max_age(60)),
            ("Max-Age=60", max_age(60)),
            ("max-age=\"60\"", max_age(60)),
            ("max-age=060", max_age(60)),
            ("max-age=60,max-age=5", max_age(5)),
            ("max-age=5\t,max-age=60", max_age(5)),
            ("max-age=60, max-age=x", max_age(0)),
            ("max-age", max_age(0)),
            ("max-age=", max_age(0)),
            ("max-age=\"\"", max_age(0)),
            ("max-age=-1", max_age(0)),
            ("max-age=+1", max_age(0)),
            ("max-age=1.5", max_age(0)),
            ("max-age=1h", max_age(0)),
            ("max-age = 60", max_age(0)),
            ("max-age=60 60", max_age(0)),
            ("max-age: 60", max_age(0)),
            ("max-age=\"6\\0\"", max_age(0)),
            ("max-age=99999999999999999999", max_age(u64::MAX)),
            ("s-maxage=7", CacheControl { s_maxage: Some(7), ..nothing }),
            ("stale-while-revalidate=7", {
                CacheControl { stale_while_revalidate: Some(7), ..nothing }
            }),
            ("stale-if-error=7", CacheControl { stale_if_error: Some(7), ..nothing }),
            ("x=\"a, private, b\", max-age=60", max_age(60)),
            ("x=\"a\\\", private, b\", max-age=60", max_age(60)),
            // Malformed: a directive that forbids is found, a directive that permits is not.
            ("public; max-age=60", max_age(0)),
            ("public; private", private),
            ("\"private\"", private),
            ("x\"a, private\"", private),
            ("x=\"a, private", private),
            ("x=\"a\\\", private", private),
            ("x=\"a\" private \"b\"", private),
            ("private=\"", private),
            ("x=\"private\\\"", private),
            ("=private", private),
            ("private =x", private),
        ] {
            assert_eq!(read(&[line.as_bytes()]), expected, "{line}");
        }
    }

    #[test]
    fn directives_of_all_lines_count() {
        let lines = [&b"max-age=60"[..], b"x=\"\xff\", private"];
        let expected = CacheControl { max_age: Some(60), private: true, ..Default::default() };
        assert_eq!(read(&lines), expected);
        // A quote does not reach from one line into the next.
        assert!(read(&[b"x=\"", b"private", b"\""]).private);
    }

    #[test]
    fn hostile_line_is_parsed_in_linear_time() {
        let line = format!("x=\"{},private", "\\\"".repeat(1 << 19));
        assert!(read(&[line.as_bytes()]).private);
    }

    proptest! {
        #[test]
        fn forbidding_word_is_found_beside_any_text(line in header_value()) {
            let before = [b"no-store,", line.as_slice()].concat();
            let after = [line.as_slice(), b",no-store"].concat();
            prop_assert!(read(&[&before]).no_store);
            prop_assert!(read(&[&after]).no_store);
            prop_assert!(read(&[&line, b"no-store"]).no_store);
        }
    }

    /// Any value a header can have, mostly of bytes that a parser looks at.
    fn header_value() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            4 => prop::sample::select(b"\"\\,=; ap".as_slice()),
            1 => (0x20_u8..=0xff).prop_filter("DEL", |byte| *byte != 0x7f),
        ];
        prop::collection::vec(byte, 0..24)
    }

    fn read(lines: &[&[u8]]) -> CacheControl {
        CacheControl::of(&headers(lines))
    }

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }
}
