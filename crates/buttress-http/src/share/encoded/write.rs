use http::{HeaderMap, Version};
use http_body::SizeHint;

use super::{super::body::stored::StoredResponse, permitted::is_for_all};
use crate::{
    key::length_prefixed::{write, write_length},
    options::HttpOptions,
};

/// Appends at most `max` bytes of a response. Returns `false` if it is longer, or not for a store.
pub(super) fn response(
    options: &HttpOptions,
    stored: &StoredResponse,
    out: &mut Vec<u8>,
    max: usize,
) -> bool {
    let (start, head) = (out.len(), stored.response(()));
    let (headers, trailers) = (head.headers(), stored.trailers.as_deref());
    let Some(version) = version(head.version()) else { return false };
    let is_sensitive = |headers: &HeaderMap| headers.values().any(http::HeaderValue::is_sensitive);
    // The length first, so that no long body is copied in vain.
    if stored.data.len() > max
        || is_sensitive(headers)
        || trailers.is_some_and(is_sensitive)
        || !is_for_all(options, &head, trailers)
    {
        return false;
    }
    out.extend_from_slice(&head.status().as_u16().to_be_bytes());
    out.push(version);
    write_length(out, headers.len());
    fields(headers, out);
    write_length(out, trailers.map_or(0, |trailers| trailers.len().saturating_add(1)));
    if let Some(trailers) = trailers {
        fields(trailers, out);
    }
    size(&stored.hint, stored.data.len(), out);
    write(out, [&stored.data]);
    out.len().saturating_sub(start) <= max
}

/// Appends a URL of at most `max` bytes.
#[cfg(feature = "reqwest")]
pub(super) fn url(url: &reqwest::Url, out: &mut Vec<u8>, max: usize) -> bool {
    let is_open = url.username().is_empty() && url.password().is_none();
    let fits = is_open && url.as_str().len() <= max;
    if fits {
        write(out, [url.as_str()]);
    }
    fits
}

fn fields(headers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in headers {
        write(out, [name.as_str()]);
        write(out, [value]);
    }
}

fn size(hint: &SizeHint, length: usize, out: &mut Vec<u8>) {
    match hint.upper() {
        _ if hint.exact() == length.try_into().ok() => out.push(0),
        None => {
            out.push(1);
            out.extend_from_slice(&hint.lower().to_be_bytes());
        }
        Some(upper) => {
            out.push(2);
            out.extend_from_slice(&hint.lower().to_be_bytes());
            out.extend_from_slice(&upper.to_be_bytes());
        }
    }
}

fn version(version: Version) -> Option<u8> {
    Some(match version {
        Version::HTTP_09 => 9,
        Version::HTTP_10 => 10,
        Version::HTTP_11 => 11,
        Version::HTTP_2 => 20,
        Version::HTTP_3 => 30,
        _ => return None,
    })
}
