use http::{HeaderMap, header::CONTENT_TYPE};

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
        match find(headers, &CONTENT_TYPE) {
            Some(content_type) if is_grpc(content_type.as_bytes()) => Self::Grpc,
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
