use buttress_core::MarkGaveUp;
use http::{HeaderName, StatusCode, header::CONTENT_LENGTH};

use crate::{Http, ResponseHead, message::header_value::only};

/// The mark is in the extensions of the response, so it ends where the response is not passed on.
///
/// A response is bare if its head says that there is no body: gRPC's trailers alone, or a length of
/// 0.
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

/// The mark of a response that a retry gave up on.
#[derive(Clone, Copy, Debug)]
struct GivenUp;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
