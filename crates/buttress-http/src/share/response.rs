use std::sync::Arc;

use buttress_core::{ByteBudget, Progress, Reader};
use bytes::Bytes;
use http::{Response, response::Parts};
use http_body::Body;

use super::body::{
    BodyState, SharedBody, caller_source::CallerSource, frame::size, stored::StoredResponse,
};
use crate::expire::from_cache::mark_from_cache;

/// A response that many callers can hold. Cloning copies no data.
#[derive(Debug)]
pub struct SharedResponse<B> {
    source: ResponseSource<B>,
}

/// The source of the responses of its callers.
#[derive(Debug)]
enum ResponseSource<B> {
    Call { head: Arc<Parts>, body: CallerSource<B> },
    Stored(Arc<StoredResponse>),
}

impl<B> SharedResponse<B>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    /// Takes `response` to be shared. Returns it if the budget has fewer bytes left than its body
    /// states. At most `cap` bytes are kept.
    pub(crate) fn new(
        response: Response<B>,
        cap: usize,
        budget: &Arc<ByteBudget>,
    ) -> Result<Self, Response<B>> {
        let (head, body) = response.into_parts();
        match CallerSource::new(body, cap, budget) {
            Ok(body) => Ok(Self { source: ResponseSource::Call { head: Arc::new(head), body } }),
            Err(body) => Err(Response::from_parts(head, body)),
        }
    }
}

impl<B> SharedResponse<B> {
    /// A response that was read from a store.
    pub(super) fn of_stored(stored: StoredResponse) -> Self {
        Self { source: ResponseSource::Stored(Arc::new(stored)) }
    }

    /// The complete response, if it is detached from its call.
    pub(super) fn stored(&self) -> Option<&StoredResponse> {
        match &self.source {
            ResponseSource::Call { .. } => None,
            ResponseSource::Stored(stored) => Some(stored),
        }
    }

    pub(crate) fn restore(&self, reader: Reader) -> Response<SharedBody<B>> {
        let mut response = match &self.source {
            ResponseSource::Call { head, body } => {
                Response::from_parts(Parts::clone(head), body.read())
            }
            ResponseSource::Stored(stored) => {
                let state = BodyState::Playing { stored: Arc::clone(stored), index: 0 };
                stored.response(SharedBody { state })
            }
        };
        if let Reader::Cached { age, stale, .. } = reader {
            mark_from_cache(&mut response, age.by_now(), stale);
        }
        response
    }

    pub(crate) fn progress(&self) -> Progress {
        match &self.source {
            ResponseSource::Call { body, .. } => body.progress(),
            ResponseSource::Stored(_) => Progress::Complete,
        }
    }

    pub(crate) fn expect(&self, callers: usize) {
        if let ResponseSource::Call { body, .. } = &self.source {
            body.expect(callers);
        }
    }

    pub(crate) fn abandon(&self) {
        if let ResponseSource::Call { body, .. } = &self.source {
            body.abandon();
        }
    }

    /// A copy for later callers, in memory of its own and without the extensions, if the response
    /// is complete.
    pub(crate) fn for_cache(&self) -> Self {
        let ResponseSource::Call { head, body } = &self.source else { return self.clone() };
        // `complete` holds the lock of the log only to clone the frames. Their bytes are copied
        // here, without the lock.
        match body.complete() {
            Some((frames, hint)) => Self {
                source: ResponseSource::Stored(Arc::new(StoredResponse::new(head, &frames, hint))),
            },
            None => self.clone(),
        }
    }

    /// The size in bytes.
    pub(crate) fn weight(&self) -> usize {
        let takes = match &self.source {
            ResponseSource::Call { head, body } => {
                size(&head.headers).saturating_add(body.weight())
            }
            ResponseSource::Stored(stored) => stored.weight(),
        };
        OVERHEAD.saturating_add(takes)
    }
}

impl<B> Clone for SharedResponse<B> {
    fn clone(&self) -> Self {
        let source = match &self.source {
            ResponseSource::Call { head, body } => {
                ResponseSource::Call { head: Arc::clone(head), body: body.clone() }
            }
            ResponseSource::Stored(stored) => ResponseSource::Stored(Arc::clone(stored)),
        };
        Self { source }
    }
}

/// The size of a response besides its headers and its body, in bytes.
const OVERHEAD: usize = 256;
