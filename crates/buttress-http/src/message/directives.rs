use http::{HeaderMap, header::CACHE_CONTROL};

/// The directives in all lines of `Cache-Control`.
pub(crate) fn directives(headers: &HeaderMap) -> impl Iterator<Item = Directive<'_>> {
    let lines = headers.get_all(CACHE_CONTROL).into_iter();
    lines.flat_map(|line| Elements::of(line.as_bytes())).filter_map(Directive::read)
}

/// A directive of `Cache-Control`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Directive<'a> {
    /// The name, or the whole text of a malformed directive.
    text: &'a [u8],
    form: DirectiveForm<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DirectiveForm<'a> {
    /// `token [ "=" ( token / quoted-string ) ]`, with the text between the quotes. Empty without
    /// an argument.
    Good(&'a [u8]),
    Bad,
}

impl<'a> Directive<'a> {
    /// The name, or the whole text of a malformed directive.
    pub(crate) fn name(&self) -> &'a [u8] {
        self.text
    }

    /// The argument, empty if there is none. `None` if the directive is malformed.
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

/// The elements of a list, split at the commas outside of quotes. From an unclosed quote on, the
/// list is split at all commas.
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
            // Searching for the same end at each quote would take quadratic time on a hostile line.
            match self.quotes.then(|| closing(rest)).flatten() {
                Some(length) => rest = rest.get(length + 1..)?,
                None => self.quotes = false,
            }
        }
        Some(line)
    }
}

/// The index of the quote that closes a string which begins here.
fn closing(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    })
}

pub(crate) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
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

    proptest! {
        #[test]
        fn directive_list_round_trips(
            list in prop::collection::vec(("[a-z]{1,8}", prop::option::of("[ ,a\"\\\\\\xe9]{0,8}")), 0..6),
        ) {
            let element = |(name, argument): &(String, Option<String>)| match argument {
                Some(argument) => format!("{name}=\"{}\"", escaped(argument)),
                None => name.clone(),
            };
            let line = list.iter().map(element).collect::<Vec<_>>().join(" ,");
            let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, value)]);
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

    fn escaped(text: &str) -> String {
        text.replace('\\', "\\\\").replace('"', "\\\"")
    }
}
