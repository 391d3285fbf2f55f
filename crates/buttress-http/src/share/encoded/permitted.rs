use http::{Extensions, HeaderMap, Response, header::SET_COOKIE};

use super::super::{allowed::is_shareable, body::stored::HOP_BY_HOP};
use crate::options::HttpOptions;

/// Whether a response may go to callers of other replicas.
pub(super) fn is_for_all(
    options: &HttpOptions,
    head: &Response<()>,
    trailers: Option<&HeaderMap>,
) -> bool {
    let is_end_to_end =
        |headers: &HeaderMap| !HOP_BY_HOP.iter().any(|name| headers.contains_key(*name));
    let counts = [Some(head.headers()), trailers].into_iter().flatten().map(Size::of);
    counts.fold(Size::default(), Size::and).fits()
        && is_shareable(options, head.status(), head.headers(), &Extensions::new())
        && is_end_to_end(head.headers())
        && trailers
            .is_none_or(|trailers| is_end_to_end(trailers) && !trailers.contains_key(SET_COOKIE))
}

/// The size of headers.
#[derive(Clone, Copy, Default)]
struct Size {
    count: usize,
    bytes: usize,
}

impl Size {
    fn of(headers: &HeaderMap) -> Self {
        headers.iter().fold(Self::default(), |size, (name, value)| {
            size.and(Self { count: 1, bytes: name.as_str().len().saturating_add(value.len()) })
        })
    }

    fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    fn fits(self) -> bool {
        self.count <= MOST_HEADERS && self.bytes <= MOST_HEADER_BYTES
    }
}

/// The most headers and trailers of a response.
pub(super) const MOST_HEADERS: usize = 256;

/// The most bytes of their names and values.
const MOST_HEADER_BYTES: usize = 64 * 1024;
