use buttress_core::MarkGaveUp;
use http::{HeaderName, StatusCode, header::CONTENT_LENGTH};

use crate::{Http, ResponseHead, message::header_value::only};

/// A retry that gives up on a response says so in its extensions, and so only where that response is
/// handed on.
///
/// A response is bare if its head says that there is no body: gRPC's trailers alone, or a length of 0.
impl<Res: ResponseHead> MarkGaveUp<Res> for Http {
    fn mark_gave_up(&self, response: &mut Res) -> bool {
        response.extensions_mut().insert(GivenUp);
        true
    }

    fn is_marked(&self, response: &Res) -> Option<bool> {
        Some(response.extensions().get::<GivenUp>().is_some())
    }

    fn is_bare(&self, response: &Res) -> bool {
        let headers = response.headers();
        response.status() == StatusCode::NO_CONTENT
            || headers.contains_key(GRPC_STATUS)
            || only(headers, &CONTENT_LENGTH) == Some(b"0")
    }
}

/// A retry has tried, and gave up.
#[derive(Clone, Copy, Debug)]
struct GivenUp;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
