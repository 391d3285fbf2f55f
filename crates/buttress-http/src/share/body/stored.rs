use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header::CONNECTION,
    response::Parts,
};
use http_body::{Frame, SizeHint};

use super::frame::{SharedFrame, length, size, sum, weight};
use crate::message::header_value::members;

/// A complete response in a cache, detached from its call.
///
/// The response owns all of its memory, and no more than it needs. The chunks of a transport are
/// parts of its read buffers: a cached page of 1 KiB would keep a buffer of 8 KiB. A header map has
/// spare room that is never used.
#[derive(Debug)]
pub(in crate::share) struct StoredResponse {
    status: StatusCode,
    version: Version,
    headers: Box<[(HeaderName, HeaderValue)]>,
    /// All data, in a single piece.
    pub(in crate::share) data: Bytes,
    pub(in crate::share) trailers: Option<Arc<HeaderMap>>,
    pub(in crate::share) hint: SizeHint,
}

impl StoredResponse {
    /// Creates the copy of a response with this `head`, whose whole body is `frames`.
    pub(in crate::share) fn new(head: &Parts, frames: &[SharedFrame], hint: SizeHint) -> Self {
        let trailers = frames.iter().find_map(SharedFrame::trailers);
        Self {
            status: head.status,
            version: head.version,
            headers: detach_values(end_to_end_headers(&head.headers)),
            data: concatenate(frames),
            trailers: trailers
                .map(|trailers| Arc::new(detach_values(trailers.iter()).into_iter().collect())),
            hint,
        }
    }

    /// Creates a response with this head.
    pub(in crate::share) fn response<B>(&self, body: B) -> Response<B> {
        // Room for `Age`.
        let room = self.headers.len().saturating_add(1);
        let mut headers = HeaderMap::try_with_capacity(room).unwrap_or_default();
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.version_mut() = self.version;
        *response.headers_mut() = headers;
        response
    }

    /// The size in bytes.
    pub(in crate::share) fn weight(&self) -> usize {
        let headers = size(self.headers.iter().map(|(name, value)| (name, value)));
        let trailers = self.trailers.as_ref().map(|trailers| weight(size(trailers.as_ref())));
        let data = if self.data.is_empty() { 0 } else { weight(self.data.len()) };
        sum([headers, data, trailers.unwrap_or_default()])
    }

    pub(super) fn frame(&self, index: usize) -> Option<Frame<Bytes>> {
        match index.checked_sub(self.pieces()) {
            None => Some(Frame::data(self.data.clone())),
            Some(0) => self.trailers.as_deref().cloned().map(Frame::trailers),
            Some(_) => None,
        }
    }

    /// Whether a reader of `index` frames has read the whole body.
    pub(super) fn is_read(&self, index: usize) -> bool {
        index >= self.pieces() + usize::from(self.trailers.is_some())
    }

    /// The size of the rest, for a reader of `index` frames.
    pub(super) fn hint(&self, index: usize) -> SizeHint {
        less(&self.hint, if index == 0 { 0 } else { length(&self.data) })
    }

    /// The number of data frames: 1 or 0.
    fn pieces(&self) -> usize {
        usize::from(!self.data.is_empty())
    }
}

/// The `hint` of a body after `read` bytes.
pub(super) fn less(hint: &SizeHint, read: u64) -> SizeHint {
    let mut left = SizeHint::new();
    left.set_lower(hint.lower().saturating_sub(read));
    if let Some(upper) = hint.upper() {
        left.set_upper(upper.saturating_sub(read));
    }
    left
}

/// The same headers. Their values share memory of their own, so a holder of a value keeps no body
/// alive.
fn detach_values<'a>(
    headers: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) -> Box<[(HeaderName, HeaderValue)]> {
    let headers: Vec<_> = headers.collect();
    let mut bytes = Vec::with_capacity(headers.iter().map(|(_, value)| value.len()).sum());
    for (_, value) in &headers {
        bytes.extend_from_slice(value.as_bytes());
    }
    let mut bytes = Bytes::from(bytes);
    let mut detach = |value: &HeaderValue| {
        // A copy of a valid value is valid.
        let copy = HeaderValue::from_maybe_shared(bytes.split_to(value.len()));
        let mut copy = copy.unwrap_or_else(|_| value.clone());
        copy.set_sensitive(value.is_sensitive());
        copy
    };
    headers.into_iter().map(|(name, value)| (name.clone(), detach(value))).collect()
}

/// The end-to-end headers: without those that are for a connection or a proxy, and are not to be
/// stored (RFC 9111, section 3.1).
fn end_to_end_headers(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let is_named = |name: &HeaderName| {
        members(headers, &CONNECTION)
            .any(|member| member.eq_ignore_ascii_case(name.as_str().as_bytes()))
    };
    headers.iter().filter(move |(name, _)| !HOP_BY_HOP.contains(&name.as_str()) && !is_named(name))
}

fn concatenate(frames: &[SharedFrame]) -> Bytes {
    let pieces = || frames.iter().filter_map(SharedFrame::data);
    // The capacity is exact, so the cached body has no spare memory that `weight` does not count.
    let mut data = Vec::with_capacity(pieces().map(Bytes::len).sum());
    pieces().for_each(|piece| data.extend_from_slice(piece));
    data.into()
}

pub(in crate::share) const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];
