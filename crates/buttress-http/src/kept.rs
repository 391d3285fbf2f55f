use std::time::Duration;

use http::{Extensions, HeaderMap, header::AGE};

/// The mark on a response that was kept: it stands in the extensions of what a later caller gets.
///
/// How old it is stands in `Age` too, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// How long ago it was made, at its origin where that is known.
    pub age: Duration,
    /// Whether it has outlived its time, and is better than none.
    pub stale: bool,
}

/// Marks a kept response for a caller. An `Age` that the response came with is replaced.
pub(crate) fn mark_kept(
    headers: &mut HeaderMap,
    extensions: &mut Extensions,
    age: Duration,
    stale: bool,
) {
    headers.insert(AGE, age.as_secs().into());
    extensions.insert(Kept { age, stale });
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_kept_response_says_how_old_it_is() {
        let mut headers = HeaderMap::new();
        headers.append(AGE, HeaderValue::from_static("3"));
        headers.append(AGE, HeaderValue::from_static("4"));
        let mut extensions = Extensions::new();
        let age = Duration::from_millis(10_999);
        mark_kept(&mut headers, &mut extensions, age, true);
        assert_eq!(headers.get_all(AGE).iter().collect::<Vec<_>>(), ["10"]);
        assert_eq!(extensions.get(), Some(&Kept { age, stale: true }));
    }
}
