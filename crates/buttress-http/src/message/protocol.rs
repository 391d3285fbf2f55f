use buttress_core::SeedHint;
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

    /// Returns the protocol that [`hint`](Self::hint) was given.
    #[inline]
    pub(crate) const fn of_hint(hint: SeedHint) -> Option<Self> {
        match hint.get() {
            Some(HTTP_HINT) => Some(Self::Http),
            Some(GRPC_HINT) => Some(Self::Grpc),
            _ => None,
        }
    }

    /// Returns the hint by which one seed tells another the protocol.
    #[inline]
    pub(crate) const fn hint(self) -> SeedHint {
        SeedHint::new(match self {
            Self::Http => HTTP_HINT,
            Self::Grpc => GRPC_HINT,
        })
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

const HTTP_HINT: u8 = 0;
const GRPC_HINT: u8 = 1;

const GRPC: &[u8] = b"application/grpc";
