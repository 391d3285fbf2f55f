use std::sync::Arc;

use buttress_core::{Allowance, Progress, Reader};
use bytes::Bytes;
use http::{Response, response::Parts};
use http_body::Body;

use super::body::{Form, SharedBody, caller_source::Master, frame::size, stored::Stored};
use crate::expire::from_cache::mark_kept;

/// A response that many can hold. Cloning it copies nothing.
#[derive(Debug)]
pub struct Shared<B> {
    root: Root<B>,
}

/// What the responses of its callers are made from.
#[derive(Debug)]
enum Root<B> {
    Call { head: Arc<Parts>, body: Master<B> },
    Stored(Arc<Stored>),
}

impl<B> Shared<B>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    /// Takes `response` to be shared, or gives it back if the allowance has not as many bytes as its
    /// body says it holds. No more than `cap` are kept.
    pub(crate) fn new(
        response: Response<B>,
        cap: usize,
        allowance: &Arc<Allowance>,
    ) -> Result<Self, Response<B>> {
        let (head, body) = response.into_parts();
        match Master::new(body, cap, allowance) {
            Ok(body) => Ok(Self { root: Root::Call { head: Arc::new(head), body } }),
            Err(body) => Err(Response::from_parts(head, body)),
        }
    }
}

impl<B> Shared<B> {
    pub(crate) fn restore(&self, reader: Reader) -> Response<SharedBody<B>> {
        let mut response = match &self.root {
            Root::Call { head, body } => Response::from_parts(Parts::clone(head), body.read()),
            Root::Stored(stored) => {
                let form = Form::Playing { stored: Arc::clone(stored), index: 0 };
                stored.response(SharedBody { form })
            }
        };
        if let Reader::Kept { age, stale } = reader {
            mark_kept(&mut response, age.by_now(), stale);
        }
        response
    }

    pub(crate) fn progress(&self) -> Progress {
        match &self.root {
            Root::Call { body, .. } => body.progress(),
            Root::Stored(_) => Progress::Whole,
        }
    }

    pub(crate) fn expect(&self, callers: usize) {
        if let Root::Call { body, .. } = &self.root {
            body.expect(callers);
        }
    }

    pub(crate) fn abandon(&self) {
        if let Root::Call { body, .. } = &self.root {
            body.abandon();
        }
    }

    /// The same for later callers, in memory of its own and without the extensions, if it is whole.
    pub(crate) fn keep(&self) -> Self {
        let Root::Call { head, body } = &self.root else { return self.clone() };
        match body.whole() {
            Some((frames, hint)) => {
                Self { root: Root::Stored(Arc::new(Stored::new(head, &frames, hint))) }
            }
            None => self.clone(),
        }
    }

    /// How many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        let takes = match &self.root {
            Root::Call { head, body } => size(&head.headers).saturating_add(body.weight()),
            Root::Stored(stored) => stored.weight(),
        };
        BOOKS.saturating_add(takes)
    }
}

impl<B> Clone for Shared<B> {
    fn clone(&self) -> Self {
        let root = match &self.root {
            Root::Call { head, body } => Root::Call { head: Arc::clone(head), body: body.clone() },
            Root::Stored(stored) => Root::Stored(Arc::clone(stored)),
        };
        Self { root }
    }
}

/// What a response takes besides its headers and its body.
const BOOKS: usize = 256;
