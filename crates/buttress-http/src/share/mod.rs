pub(crate) mod allowed;
mod body;
mod bound;
mod encoded;
mod read_to_end;
mod response;

use std::sync::Arc;

use buttress_core::{ByteBudget, Degraded, Progress, Reader, Share};
use http::{Extensions, HeaderMap, Response, StatusCode, header::CONTENT_LENGTH};

use self::{allowed::is_shareable, read_to_end::ReadToEnd, response::SharedResponse};
use crate::Http;
#[cfg(feature = "reqwest")]
use crate::respond::at;

pub use self::body::{SharedBody, TooLong};
pub use self::bound::ShareBody;

/// Each caller receives the same head, and the whole body from its first byte, also while the body
/// is still streaming. See [`SharedBody`].
///
/// At most [`Http::max_shared_body`] bytes of a body are held, if the layer's limit for all
/// responses leaves as many. A response that states a greater length, by its size or in
/// `Content-Length`, has a single caller. A response that turns out to be longer takes no new
/// caller and is not cached. Its callers read on within a window of that size. The bytes of a body
/// with a known length are reserved at once.
///
/// # Extensions
///
/// All callers of a call receive clones of its extensions. A value that an inner layer stored
/// there, such as a [`Rejection`](buttress_core::Rejection), holds for each of them, and so does
/// the connection that the response came from (`HttpInfo` of hyper-util). A response that carries a
/// connection itself, as hyper's `OnUpgrade`, is not shared. A cached response has no extensions,
/// because they were about past callers. A cached response in place of a failure carries
/// [`Degraded`].
impl<B: ShareBody> Share<Response<B>> for Http {
    type Shared = SharedResponse<B>;
    type Response = Response<SharedBody<B>>;
    type Finish = ReadToEnd<B>;
    const IS_COMPLETE: bool = false;

    fn share(
        &self,
        response: Response<B>,
        budget: &Arc<ByteBudget>,
    ) -> Result<SharedResponse<B>, Response<B>> {
        let (headers, body) = (response.headers(), response.body());
        // A body that has ended needs no room, even if `Content-Length` states a length, as after a
        // `HEAD`.
        let length = if body.is_end_stream() {
            0
        } else {
            minimum_length(headers, body.size_hint().lower())
        };
        if !self.has_room(length, budget)
            || !self.is_for_many(response.status(), headers, response.extensions())
        {
            return Err(response);
        }
        SharedResponse::new(response, self.options().share_cap, budget)
    }

    fn own(&self, response: Response<B>) -> Response<SharedBody<B>> {
        response.map(SharedBody::own)
    }

    fn restore(&self, shared: &SharedResponse<B>, reader: Reader) -> Response<SharedBody<B>> {
        shared.restore(reader)
    }

    fn mark_degraded(&self, response: &mut Response<SharedBody<B>>, degraded: Degraded) {
        response.extensions_mut().insert(degraded);
    }

    fn progress(&self, shared: &SharedResponse<B>) -> Progress {
        shared.progress()
    }

    fn expect_callers(&self, shared: &SharedResponse<B>, callers: usize) {
        shared.expect(callers);
    }

    fn abandon(&self, shared: &SharedResponse<B>) {
        shared.abandon();
    }

    fn finish(&self, shared: &SharedResponse<B>) -> ReadToEnd<B> {
        ReadToEnd::of(shared)
    }

    fn for_cache(&self, shared: &SharedResponse<B>) -> SharedResponse<B> {
        shared.for_cache()
    }

    fn weight(&self, shared: &SharedResponse<B>) -> usize {
        shared.weight()
    }
}

/// As for [`http::Response`]. Each caller's response has the URL of the shared response. A response
/// with a single caller stays as it is.
#[cfg(feature = "reqwest")]
impl Share<reqwest::Response> for Http {
    type Shared = SharedReqwest;
    type Response = reqwest::Response;
    type Finish = ReadToEnd<reqwest::Body>;
    const IS_COMPLETE: bool = false;

    fn share(
        &self,
        response: reqwest::Response,
        budget: &Arc<ByteBudget>,
    ) -> Result<SharedReqwest, reqwest::Response> {
        let headers = response.headers();
        let length = match response.content_length() {
            Some(0) => 0,
            length => minimum_length(headers, length.unwrap_or(0)),
        };
        if !self.has_room(length, budget)
            || !self.is_for_many(response.status(), headers, response.extensions())
        {
            return Err(response);
        }
        let url = response.url().clone();
        let response = Response::<reqwest::Body>::from(response);
        match SharedResponse::new(response, self.options().share_cap, budget) {
            Ok(response) => Ok(SharedReqwest { url: Arc::new(url), response }),
            Err(response) => Err(at(url, response)),
        }
    }

    fn own(&self, response: reqwest::Response) -> reqwest::Response {
        response
    }

    fn restore(&self, shared: &SharedReqwest, reader: Reader) -> reqwest::Response {
        let response = shared.response.restore(reader);
        at(reqwest::Url::clone(&shared.url), response.map(reqwest::Body::wrap))
    }

    fn mark_degraded(&self, response: &mut reqwest::Response, degraded: Degraded) {
        response.extensions_mut().insert(degraded);
    }

    fn progress(&self, shared: &SharedReqwest) -> Progress {
        shared.response.progress()
    }

    fn expect_callers(&self, shared: &SharedReqwest, callers: usize) {
        shared.response.expect(callers);
    }

    fn abandon(&self, shared: &SharedReqwest) {
        shared.response.abandon();
    }

    fn finish(&self, shared: &SharedReqwest) -> ReadToEnd<reqwest::Body> {
        ReadToEnd::of(&shared.response)
    }

    fn for_cache(&self, shared: &SharedReqwest) -> SharedReqwest {
        SharedReqwest { url: Arc::clone(&shared.url), response: shared.response.for_cache() }
    }

    fn weight(&self, shared: &SharedReqwest) -> usize {
        shared.response.weight().saturating_add(shared.url.as_str().len())
    }
}

/// A response of reqwest that many callers can hold.
#[cfg(feature = "reqwest")]
#[derive(Clone, Debug)]
pub struct SharedReqwest {
    url: Arc<reqwest::Url>,
    response: SharedResponse<reqwest::Body>,
}

impl Http {
    /// Whether a response with this head may have several callers.
    fn is_for_many(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> bool {
        is_shareable(self.options(), status, headers, extensions)
    }

    /// Whether there is room for a body of `length`.
    fn has_room(&self, length: u64, budget: &ByteBudget) -> bool {
        // Only a look: another response may take the bytes before `ByteReservation::reserve` asks
        // for them.
        let room = self.options().share_cap.min(budget.remaining());
        usize::try_from(length).is_ok_and(|length| length <= room)
    }
}

/// The least length of a body, by its size hint `said` and by `Content-Length`.
fn minimum_length(headers: &HeaderMap, said: u64) -> u64 {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).map_or(said, |length| said.max(length))
}
