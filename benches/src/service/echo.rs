use std::{
    future::Future,
    hint::black_box,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use buttress::layer_api::BoxError;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::Service;

/// When the inner service responds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inner {
    /// At the first poll.
    Ready,
    /// At the second poll. The first poll wakes the task.
    Pend,
}

/// The inner service. The response to a number is that number, and to an HTTP request a short page.
#[derive(Clone, Debug)]
pub struct Echo(pub Inner);

impl Service<u64> for Echo {
    type Response = u64;
    type Error = BoxError;
    type Future = EchoFuture<u64>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> EchoFuture<u64> {
        EchoFuture::new(self.0, request)
    }
}

impl Service<Request<Full<Bytes>>> for Echo {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = EchoFuture<Response<Full<Bytes>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> EchoFuture<Response<Full<Bytes>>> {
        drop(black_box(request));
        EchoFuture::new(self.0, Response::new(Full::new(Bytes::from_static(b"page"))))
    }
}

/// The future of [`Echo`].
#[derive(Debug)]
pub struct EchoFuture<R, E = BoxError> {
    pending: bool,
    response: Option<R>,
    error: PhantomData<fn() -> E>,
}

impl<R, E> EchoFuture<R, E> {
    pub(crate) fn new(inner: Inner, response: R) -> Self {
        let pending = black_box(inner == Inner::Pend);
        Self { pending, response: Some(response), error: PhantomData }
    }
}

impl<R: Unpin, E> Future for EchoFuture<R, E> {
    type Output = Result<R, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.pending {
            self.pending = false;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.response.take() {
            Some(response) => Poll::Ready(Ok(response)),
            None => Poll::Pending,
        }
    }
}
