use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

/// A frame of a shared body. Cloning copies no data.
// Dropping a frame is foreign code, because a `Bytes` may own anything. Frames leave the log for a
// reader or a `freed` list, and are dropped without the lock of `LiveBody::log`.
#[derive(Clone, Debug)]
pub(in crate::share) enum SharedFrame {
    Data(Bytes),
    Trailers(Arc<HeaderMap>),
}

impl SharedFrame {
    /// The number of bytes that the frame adds to the length of the body.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Data(data) => length(data),
            Self::Trailers(_) => 0,
        }
    }

    /// The number of bytes that count against limits.
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

/// The length of a chunk.
pub(super) fn length(data: &Bytes) -> u64 {
    data.len().try_into().unwrap_or(u64::MAX)
}

/// The memory of a frame of this size, in bytes.
pub(super) const fn weight(size: usize) -> usize {
    size.saturating_add(ENTRY)
}

/// The size of headers: their names, their values, and [`ENTRY`] for each.
pub(in crate::share) fn size<'a>(
    headers: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) -> usize {
    sum(headers.into_iter().map(|(name, value)| weight(name.as_str().len() + value.len())))
}

/// The sum of sizes.
pub(super) fn sum(sizes: impl IntoIterator<Item = usize>) -> usize {
    sizes.into_iter().fold(0, usize::saturating_add)
}

/// The overhead of a header, as HPACK (RFC 7541, section 4.1) counts it, and the overhead of a
/// frame. In bytes.
const ENTRY: usize = 32;
