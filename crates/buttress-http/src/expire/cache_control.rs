use http::{HeaderMap, header::CACHE_CONTROL};

use crate::message::header_value::number;

/// What the `Cache-Control` of a response says (RFC 9111, section 5.2.2, and RFC 5861), in the
/// strictest way it can be read: what is malformed forbids and never permits, and of a time that
/// stands there twice the shorter counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a directive that is there or not")]
pub(crate) struct CacheControl {
    pub(crate) private: bool,
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) public: bool,
    /// In seconds, as the times below; malformed ones are zero.
    pub(crate) max_age: Option<u64>,
    pub(crate) s_maxage: Option<u64>,
    pub(crate) stale_while_revalidate: Option<u64>,
    pub(crate) stale_if_error: Option<u64>,
}

impl CacheControl {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        for directive in directives(headers) {
            match directive.form {
                DirectiveForm::Good(argument) => all.add(directive.text, Some(argument)),
                // A word that forbids may be hidden in it, as in `max-age=60; private`.
                DirectiveForm::Bad => words(directive.text).for_each(|word| all.add(word, None)),
            }
        }
        all
    }

    /// Adds a directive; without an argument if it was not well formed.
    fn add(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        let seconds = argument.and_then(number).unwrap_or_default();
        let shorter = |time: &mut Option<u64>| {
            *time = Some(time.map_or(seconds, |time| time.min(seconds)));
        };
        // `private` and `no-cache` may be about some fields only. They count for the whole.
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

/// The directives in all lines of `Cache-Control`.
pub(crate) fn directives(headers: &HeaderMap) -> impl Iterator<Item = Directive<'_>> {
    let lines = headers.get_all(CACHE_CONTROL).into_iter();
    lines.flat_map(|line| Elements::of(line.as_bytes())).filter_map(Directive::read)
}

/// One directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Directive<'a> {
    /// The name, or the whole of a malformed one.
    text: &'a [u8],
    form: DirectiveForm<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DirectiveForm<'a> {
    /// `token [ "=" ( token / quoted-string ) ]`, with what is between the quotes; empty where there
    /// is no argument.
    Good(&'a [u8]),
    Bad,
}

impl<'a> Directive<'a> {
    /// Its name, or the whole of a malformed one.
    pub(crate) fn name(&self) -> &'a [u8] {
        self.text
    }

    /// Its argument, empty where it has none. `None` if it is malformed.
    pub(crate) fn argument(&self) -> Option<&'a [u8]> {
        match self.form {
            DirectiveForm::Good(argument) => Some(argument),
            DirectiveForm::Bad => None,
        }
    }

    fn read(element: &'a [u8]) -> Option<Self> {
        let element = element.trim_ascii();
        if element.is_empty() {
            return None;
        }
        let length = element.iter().position(|byte| !is_token(*byte)).unwrap_or(element.len());
        let (name, rest) = element.split_at_checked(length)?;
        let form = match rest {
            [] => Some(&[][..]),
            [b'=', b'"', quoted @ ..] => closing(quoted)
                .filter(|length| length + 1 == quoted.len())
                .and_then(|length| quoted.get(..length)),
            [b'=', argument @ ..] if is_word(argument) => Some(argument),
            _ => None,
        };
        Some(match form {
            Some(argument) if !name.is_empty() => {
                Self { text: name, form: DirectiveForm::Good(argument) }
            }
            _ => Self { text: element, form: DirectiveForm::Bad },
        })
    }
}

/// The elements of a list, split at the commas that stand outside of quotes. From a quote that is
/// never closed on, at all commas.
struct Elements<'a> {
    line: Option<&'a [u8]>,
    quotes: bool,
}

impl<'a> Elements<'a> {
    fn of(line: &'a [u8]) -> Self {
        Self { line: Some(line), quotes: true }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.line.take()?;
        let mut rest = line;
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b',' | b'"')) {
            let (mark, after) = rest.split_at_checked(at)?.1.split_first()?;
            rest = after;
            if *mark == b',' {
                self.line = Some(rest);
                return line.get(..line.len() - rest.len() - 1);
            }
            // Looking for the same end again at each quote would take a hostile line's length squared.
            match self.quotes.then(|| closing(rest)).flatten() {
                Some(length) => rest = rest.get(length + 1..)?,
                None => self.quotes = false,
            }
        }
        Some(line)
    }
}

/// Where the quote is that closes a string which begins here.
fn closing(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    })
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| !is_token(*byte))
}

pub(crate) fn is_word(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token)
}

/// `tchar` (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_response_says_is_a_table() {
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
            // Malformed: what forbids is found, what permits is not.
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
    fn all_lines_count() {
        let lines = [&b"max-age=60"[..], b"x=\"\xff\", private"];
        let expected = CacheControl { max_age: Some(60), private: true, ..Default::default() };
        assert_eq!(read(&lines), expected);
        // A quote does not reach from one line into the next.
        assert!(read(&[b"x=\"", b"private", b"\""]).private);
    }

    #[test]
    fn a_hostile_line_is_read_in_one_go() {
        let line = format!("x=\"{},private", "\\\"".repeat(1 << 19));
        assert!(read(&[line.as_bytes()]).private);
    }

    proptest! {
        #[test]
        fn whatever_stands_next_to_it_a_word_that_forbids_is_found(line in header_value()) {
            let before = [b"no-store,", line.as_slice()].concat();
            let after = [line.as_slice(), b",no-store"].concat();
            prop_assert!(read(&[&before]).no_store);
            prop_assert!(read(&[&after]).no_store);
            prop_assert!(read(&[&line, b"no-store"]).no_store);
        }

        #[test]
        fn a_list_is_read_as_it_was_written(
            list in prop::collection::vec(("[a-z]{1,8}", prop::option::of("[ ,a\"\\\\\\xe9]{0,8}")), 0..6),
        ) {
            let element = |(name, argument): &(String, Option<String>)| match argument {
                Some(argument) => format!("{name}=\"{}\"", escaped(argument)),
                None => name.clone(),
            };
            let line = list.iter().map(element).collect::<Vec<_>>().join(" ,");
            let headers = headers(&[line.as_bytes()]);
            let found: Vec<_> = directives(&headers).collect();
            let arguments: Vec<_> = list.iter().map(|(_, argument)| {
                escaped(argument.as_deref().unwrap_or_default())
            }).collect();
            let expected: Vec<_> = list.iter().zip(&arguments).map(|((name, _), argument)| {
                Directive { text: name.as_bytes(), form: DirectiveForm::Good(argument.as_bytes()) }
            }).collect();
            prop_assert_eq!(found, expected);
        }
    }

    /// Any value a header can have, most of it of what a parser looks at.
    fn header_value() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            4 => prop::sample::select(b"\"\\,=; ap".as_slice()),
            1 => (0x20_u8..=0xff).prop_filter("DEL", |byte| *byte != 0x7f),
        ];
        prop::collection::vec(byte, 0..24)
    }

    fn escaped(text: &str) -> String {
        text.replace('\\', "\\\\").replace('"', "\\\"")
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
