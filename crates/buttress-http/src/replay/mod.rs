mod body;
mod head_copy;
pub(crate) mod idempotent;
mod recording;
mod row;
mod tee;

use buttress_core::{Attempt, Deadline, Propagate, Replay, SeedHint};
use http::{HeaderMap, HeaderName, HeaderValue, Request};

#[cfg(feature = "reqwest")]
use self::tee::{Recording, Tee, fits};
use self::{head_copy::HeadCopy, idempotent::Repeatability};
#[cfg(feature = "reqwest")]
use crate::message::body_error::bare;
use crate::{Http, Protocol};
#[cfg(feature = "reqwest")]
use http_body_util::BodyExt;

pub use self::body::ReplayBody;
pub use self::idempotent::Idempotent;

/// A request is sent again with the same head, its `Idempotency-Key` included, and the whole body,
/// or not at all.
///
/// A request can be sent again once no attempt reads the body any more, if at most
/// [`Http::max_replay_body`] bytes were read. A gRPC request states the number of earlier attempts
/// in `grpc-previous-rpc-attempts`.
///
/// A request that is not known to be idempotent is not repeated, unless it is gRPC and the service
/// itself responded. [`Idempotent`] has the table.
impl<B> Replay<Request<B>> for Http
where
    B: ReplayBody,
{
    type Saved = Saved<B::Saved>;

    fn save(&self, request: &mut Request<B>) -> Option<Self::Saved> {
        let body = request.body_mut().save(self.options().replay_cap)?;
        let announcing = self.announcing();
        let mut is_announced = false;
        // The copy visits all names, so the headers need not be searched for a deadline.
        let head = HeadCopy::of(request, |name| is_announced |= announcing(name));
        let deadline = if is_announced || !request.extensions().is_empty() {
            self.deadline(request)
        } else {
            None
        };
        Some(Saved { head, body, deadline })
    }

    fn saved_deadline(&self, saved: &Self::Saved) -> Option<Deadline> {
        saved.deadline
    }

    fn saved_hint(&self, saved: &Self::Saved) -> SeedHint {
        saved.head.protocol().hint()
    }

    fn again(&self, saved: &Self::Saved, attempt: Attempt) -> Option<Request<B>> {
        let mut request = saved.head.with(B::again(&saved.body)?)?;
        count_attempts(request.headers_mut(), attempt);
        Some(request)
    }

    fn repeatable(&self, saved: &Self::Saved, answered: bool) -> bool {
        let Saved { head, .. } = saved;
        let header = |name: &_| head.header(name);
        Repeatability::of(self, head.method(), header, Some(head.extensions())).after(answered)
    }
}

/// The copy of a request that is kept until its last attempt.
#[derive(Debug)]
pub struct Saved<B> {
    head: HeadCopy,
    body: B,
    deadline: Option<Deadline>,
}

/// As for [`http::Request`]. [`Http::assume_idempotent`] replaces the mark, which this request
/// cannot carry.
///
/// A buffered body stays buffered, so that reqwest itself can still repeat the request, as it does
/// for a redirect.
#[cfg(feature = "reqwest")]
impl Replay<reqwest::Request> for Http {
    type Saved = SavedReqwest;

    fn save(&self, request: &mut reqwest::Request) -> Option<SavedReqwest> {
        let cap = self.options().replay_cap;
        if request.body().is_some_and(|body| !fits(body, cap)) {
            return None;
        }
        // Must be taken out before `try_clone`, which returns `None` for a request with a streaming
        // body.
        let mut stream = request.body_mut().take_if(|body| body.as_bytes().is_none());
        let recording = stream.as_mut().and_then(|body| tee::record(body, cap, wrap));
        let copy = request.try_clone();
        let deadline = self.deadline(request);
        if stream.is_some() {
            *request.body_mut() = stream;
        }
        copy.map(|request| SavedReqwest { request, recording, deadline })
    }

    fn again(&self, saved: &SavedReqwest, attempt: Attempt) -> Option<reqwest::Request> {
        let mut request = saved.request.try_clone()?;
        if let Some(recording) = &saved.recording {
            *request.body_mut() = Some(tee::play(recording, wrap)?);
        }
        count_attempts(request.headers_mut(), attempt);
        Some(request)
    }

    fn saved_deadline(&self, saved: &SavedReqwest) -> Option<Deadline> {
        saved.deadline
    }

    fn repeatable(&self, saved: &SavedReqwest, answered: bool) -> bool {
        let request = &saved.request;
        let header = |name: &_| request.headers().get(name).map(HeaderValue::as_bytes);
        Repeatability::of(self, request.method(), header, None).after(answered)
    }
}

/// A recorded body in reqwest's own type, with errors wrapped once.
#[cfg(feature = "reqwest")]
fn wrap(tee: Tee<reqwest::Body>) -> reqwest::Body {
    reqwest::Body::wrap(tee.map_err(bare))
}

/// The copy of a request of reqwest that is kept until its last attempt.
#[cfg(feature = "reqwest")]
#[derive(Debug)]
pub struct SavedReqwest {
    /// Without its body, if the body is a stream.
    request: reqwest::Request,
    recording: Option<Recording<reqwest::Body>>,
    deadline: Option<Deadline>,
}

fn count_attempts(headers: &mut HeaderMap, attempt: Attempt) {
    // A first attempt announces none, and neither does a transparent attempt after it.
    if attempt.previous_attempts() > 0 && Protocol::of(headers) == Protocol::Grpc {
        headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(attempt.previous_attempts()));
    }
}

const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
