use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tower::Service;

use crate::{EchoFuture, Inner, SourceError};

/// The inner service of calls that stay in flight. Never responds to a number below [`ONE_MORE`], and to all
/// other numbers at the second poll.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unanswered;

impl Service<u64> for Unanswered {
    type Response = u64;
    type Error = SourceError;
    type Future = UnansweredFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SourceError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> UnansweredFuture {
        UnansweredFuture((request >= ONE_MORE).then(|| EchoFuture::new(Inner::Pend, request)))
    }
}

/// The future of [`Unanswered`].
#[derive(Debug)]
pub(crate) struct UnansweredFuture(Option<EchoFuture<u64, SourceError>>);

impl Future for UnansweredFuture {
    type Output = Result<u64, SourceError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            Some(response) => Pin::new(response).poll(cx),
            None => Poll::Pending,
        }
    }
}

/// The first request that gets a response.
pub(crate) const ONE_MORE: u64 = 1 << 32;
