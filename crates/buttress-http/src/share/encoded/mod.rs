mod permitted;
mod read;
mod write;

use buttress_core::Codec;
use bytes::Bytes;

#[cfg(feature = "reqwest")]
use super::SharedReqwest;
use super::response::SharedResponse;
use crate::Http;

/// The bytes of a cached response, for a store that replicas share. A response that is read back is
/// the same as one from this process's memory: head, body, trailers and size.
///
/// Give the codec the same options as the layer. The bytes do not say which headers are part of the
/// key, so replicas that differ in [`Http::key_headers`], [`Http::ignore_headers`] or
/// [`Http::vary`] need different namespaces, or different names of the layer.
///
/// # Format
///
/// Version 1, whose id is `HTT1` in ASCII. A length is in LEB128, without needless bytes. All other
/// numbers are big-endian.
///
/// | part | bytes |
/// |---|---|
/// | status | 2 |
/// | version of HTTP | 1: 9, 10, 11, 20 or 30 |
/// | headers | their number, then the length and the bytes of each name and of each value |
/// | trailers | 0 if there are none. Otherwise 1 more than their number, then the same |
/// | size of the body | 0: the length of the body. 1: unknown, and 8 bytes for the least. 2: 8 bytes each for the least and the most |
/// | body | its length, then its bytes |
///
/// The values of a repeated name stand together. So two different texts of bytes are two different
/// responses, and what was read is written as the same bytes again.
///
/// # What is not written
///
/// - a response that is not complete, or has not been [detached](buttress_core::Share::for_cache)
///   from its callers,
/// - more than `max` bytes, 256 headers, or 64 KiB of names and values. Trailers count as headers,
/// - what may have a single caller only, such as `Set-Cookie`, `private` or `no-store`,
/// - a header that is about a connection (RFC 9110, section 7.6.1), or a trailer that is, or that
///   is `Set-Cookie`,
/// - a value that is marked as [sensitive](http::HeaderValue::is_sensitive), because a store keeps
///   it in the clear.
///
/// None of these is read either, nor is an invalid name or value, a name in upper case, a byte
/// after the end, or any form but that which is written.
impl<B> Codec<SharedResponse<B>> for Http {
    const ID: u32 = u32::from_be_bytes(*b"HTT1");

    fn encode(&self, value: &SharedResponse<B>, out: &mut Vec<u8>, max: usize) -> bool {
        value.stored().is_some_and(|stored| write::response(self.options(), stored, out, max))
    }

    fn decode(&self, bytes: Bytes) -> Option<SharedResponse<B>> {
        read::response(self.options(), &bytes).map(SharedResponse::of_stored)
    }
}

/// As for [`http::Response`], after the URL of the response: its length and its bytes. The id is
/// `HTR1` in ASCII. A URL with a user or a password is not written.
#[cfg(feature = "reqwest")]
impl Codec<SharedReqwest> for Http {
    const ID: u32 = u32::from_be_bytes(*b"HTR1");

    fn encode(&self, value: &SharedReqwest, out: &mut Vec<u8>, max: usize) -> bool {
        let start = out.len();
        write::url(&value.url, out, max)
            && max.checked_sub(out.len().saturating_sub(start)).is_some_and(|max| {
                Codec::<SharedResponse<reqwest::Body>>::encode(self, &value.response, out, max)
            })
    }

    fn decode(&self, bytes: Bytes) -> Option<SharedReqwest> {
        let (url, rest) = read::url(&bytes)?;
        let stored = read::response(self.options(), rest)?;
        Some(SharedReqwest { url: url.into(), response: SharedResponse::of_stored(stored) })
    }
}
