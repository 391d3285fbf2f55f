use std::sync::Arc;

use buttress_core::{Allowance, Progress, Reader};
use bytes::Bytes;
use http::{Response, response::Parts};
use http_body::Body;

use super::{
    SharedBody,
    frame::{copy, size},
    master::Master,
};
use crate::kept::mark_kept;

/// A response that many can hold. Cloning it copies nothing.
#[derive(Debug)]
pub struct Shared<B> {
    head: Arc<Parts>,
    body: Master<B>,
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
            Ok(body) => Ok(Self { head: Arc::new(head), body }),
            Err(body) => Err(Response::from_parts(head, body)),
        }
    }
}

impl<B> Shared<B> {
    pub(crate) fn restore(&self, reader: Reader) -> Response<SharedBody<B>> {
        let mut head = Parts::clone(&self.head);
        if let Reader::Kept { age, stale } = reader {
            mark_kept(&mut head.headers, &mut head.extensions, age.by_now(), stale);
        }
        Response::from_parts(head, self.body.read(reader == Reader::First))
    }

    pub(crate) fn progress(&self) -> Progress {
        self.body.progress()
    }

    pub(crate) fn abandon(&self) {
        self.body.abandon();
    }

    /// The same for later callers, in memory of its own and without the extensions.
    pub(crate) fn keep(&self) -> Self {
        let mut response = Response::new(());
        *response.status_mut() = self.head.status;
        *response.version_mut() = self.head.version;
        *response.headers_mut() = copy(&self.head.headers);
        Self { head: Arc::new(response.into_parts().0), body: self.body.keep() }
    }

    /// How many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        BOOKS.saturating_add(size(&self.head.headers)).saturating_add(self.body.weight())
    }
}

impl<B> Clone for Shared<B> {
    fn clone(&self) -> Self {
        Self { head: Arc::clone(&self.head), body: self.body.clone() }
    }
}

/// What a response takes besides its headers and its body.
const BOOKS: usize = 256;
