use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use http_body::SizeHint;

use super::{
    super::body::{frame::SharedFrame, stored::StoredResponse},
    permitted::{MOST_HEADERS, is_for_all},
};
use crate::options::HttpOptions;

/// Reads a response. `None` if the bytes are not what `write::response` makes of a response.
pub(super) fn response(options: &HttpOptions, bytes: &[u8]) -> Option<StoredResponse> {
    let mut bytes = Reader(bytes);
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::from_u16(u16::from_be_bytes(bytes.array()?)).ok()?;
    *head.version_mut() = version(bytes.array()?)?;
    let count = bytes.length()?;
    *head.headers_mut() = bytes.fields(count)?;
    let trailers = match bytes.length()?.checked_sub(1) {
        Some(count) => Some(bytes.fields(count)?),
        None => None,
    };
    let size = bytes.size()?;
    let body = bytes.part()?;
    let hint = size.hint(body.len().try_into().ok()?)?;
    if !bytes.0.is_empty() || !is_for_all(options, &head, trailers.as_ref()) {
        return None;
    }
    let mut frames = vec![SharedFrame::Data(Bytes::copy_from_slice(body))];
    frames.extend(trailers.map(|trailers| SharedFrame::Trailers(Arc::new(trailers))));
    Some(StoredResponse::new(&head.into_parts().0, &frames, hint))
}

/// Reads a URL, and returns the bytes after it.
#[cfg(feature = "reqwest")]
pub(super) fn url(bytes: &[u8]) -> Option<(reqwest::Url, &[u8])> {
    let mut bytes = Reader(bytes);
    let text = str::from_utf8(bytes.part()?).ok()?;
    let url = reqwest::Url::parse(text).ok()?;
    let is_written = url.as_str() == text && url.username().is_empty() && url.password().is_none();
    is_written.then_some((url, bytes.0))
}

/// Takes parts from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn part(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        let (part, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }

    /// Reads a length in the only form in which it is written: without a last byte of 0.
    fn length(&mut self) -> Option<usize> {
        let mut length = 0_u64;
        for shift in (0..LONGEST).step_by(7) {
            let [byte] = self.array()?;
            length |= u64::from(byte & !MORE) << shift;
            if byte & MORE == 0 {
                return if byte == 0 && shift > 0 { None } else { length.try_into().ok() };
            }
        }
        None
    }

    /// Reads headers. `None` if the values of a name are not together.
    fn fields(&mut self, count: usize) -> Option<HeaderMap> {
        // Before room is made for them.
        if count > MOST_HEADERS {
            return None;
        }
        let mut headers = HeaderMap::try_with_capacity(count).ok()?;
        let mut last = None;
        for _ in 0..count {
            let name = HeaderName::from_lowercase(self.part()?).ok()?;
            let value = HeaderValue::from_bytes(self.part()?).ok()?;
            let is_repeated = headers.try_append(name.clone(), value).ok()?;
            if is_repeated && last.as_ref() != Some(&name) {
                return None;
            }
            last = Some(name);
        }
        Some(headers)
    }

    fn size(&mut self) -> Option<Size> {
        let [kind] = self.array()?;
        Some(match kind {
            0 => Size::Length,
            1 => Size::AtLeast(u64::from_be_bytes(self.array()?)),
            2 => {
                Size::Between(u64::from_be_bytes(self.array()?), u64::from_be_bytes(self.array()?))
            }
            _ => return None,
        })
    }
}

/// The size that a body stated.
enum Size {
    Length,
    AtLeast(u64),
    Between(u64, u64),
}

impl Size {
    /// The size of a body of this `length`. `None` if the size is written in another way.
    fn hint(&self, length: u64) -> Option<SizeHint> {
        let mut hint = SizeHint::new();
        match *self {
            Self::Length => return Some(SizeHint::with_exact(length)),
            Self::AtLeast(lower) => hint.set_lower(lower),
            // `set_upper` panics on less than the lower bound.
            Self::Between(lower, upper) if lower <= upper => {
                hint.set_lower(lower);
                hint.set_upper(upper);
            }
            Self::Between(..) => return None,
        }
        (hint.exact() != Some(length)).then_some(hint)
    }
}

fn version([version]: [u8; 1]) -> Option<Version> {
    Some(match version {
        9 => Version::HTTP_09,
        10 => Version::HTTP_10,
        11 => Version::HTTP_11,
        20 => Version::HTTP_2,
        30 => Version::HTTP_3,
        _ => return None,
    })
}

const MORE: u8 = 0x80;

/// The most bits of a length, in 9 bytes. No text in memory is longer.
const LONGEST: u32 = 63;
