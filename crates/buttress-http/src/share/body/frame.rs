use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

/// A frame of a body that many read. Cloning it copies nothing.
#[derive(Clone, Debug)]
pub(in crate::share) enum SharedFrame {
    Data(Bytes),
    Trailers(Arc<HeaderMap>),
}

impl SharedFrame {
    /// How many bytes it adds to the body's length.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Data(data) => length(data),
            Self::Trailers(_) => 0,
        }
    }

    /// How many bytes it counts for where they are limited.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(trailers) => size(trailers.as_ref()),
        }
    }

    pub(super) fn is_trailers(&self) -> bool {
        matches!(self, Self::Trailers(_))
    }

    pub(super) fn data(&self) -> Option<&Bytes> {
        match self {
            Self::Data(data) => Some(data),
            Self::Trailers(_) => None,
        }
    }

    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        match self {
            Self::Data(_) => None,
            Self::Trailers(trailers) => Some(trailers),
        }
    }

    pub(super) fn into_frame(self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data),
            Self::Trailers(trailers) => Frame::trailers(Arc::unwrap_or_clone(trailers)),
        }
    }
}

/// How long a chunk is.
pub(super) fn length(data: &Bytes) -> u64 {
    data.len().try_into().unwrap_or(u64::MAX)
}

/// How many bytes a frame of this size takes.
pub(super) const fn weight(size: usize) -> usize {
    size.saturating_add(ENTRY)
}

/// How many bytes headers take: their names, their values, and [`ENTRY`] for each.
pub(in crate::share) fn size<'a>(
    headers: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) -> usize {
    sum(headers.into_iter().map(|(name, value)| weight(name.as_str().len() + value.len())))
}

/// The sum of sizes.
pub(super) fn sum(sizes: impl IntoIterator<Item = usize>) -> usize {
    sizes.into_iter().fold(0, usize::saturating_add)
}

/// What a header takes besides its name and value, as HPACK (RFC 7541, section 4.1) counts it; also
/// what a frame takes besides its bytes.
const ENTRY: usize = 32;
