use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};

use super::header_value::find;

/// The protocol of a request, which decides the form of a rejection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP: the verdict is a status.
    #[default]
    Http,
    /// gRPC: the verdict is a `grpc-status` in the trailers.
    Grpc,
}

impl Protocol {
    /// Returns the protocol of a message with these headers.
    ///
    /// gRPC is the content type `application/grpc`, alone or followed by `+…` or `;…`. gRPC-Web
    /// counts as HTTP, because it frames its trailers in the body, where this crate writes nothing.
    #[inline]
    pub fn of(headers: &HeaderMap) -> Self {
        Self::of_content_type(find(headers, &CONTENT_TYPE).map(HeaderValue::as_bytes))
    }

    /// Returns the protocol of a message with this content type.
    #[inline]
    pub(crate) fn of_content_type(content_type: Option<&[u8]>) -> Self {
        match content_type {
            Some(content_type) if is_grpc(content_type) => Self::Grpc,
            _ => Self::Http,
        }
    }
}

fn is_grpc(content_type: &[u8]) -> bool {
    match content_type.split_at_checked(GRPC.len()) {
        Some((start, rest)) => {
            start.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';'))
        }
        None => false,
    }
}

const GRPC: &[u8] = b"application/grpc";
