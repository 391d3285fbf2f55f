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

/// How the service inside answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inner {
    /// At once.
    Ready,
    /// At the second poll, having woken the task.
    Pend,
}

/// The service inside: it answers a number with the number, and a request with a short page.
#[derive(Clone, Debug)]
pub struct Echo(pub Inner);

impl Service<u64> for Echo {
    type Response = u64;
    type Error = BoxError;
    type Future = Answer<u64>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Answer<u64> {
        Answer::new(self.0, request)
    }
}

impl Service<Request<Full<Bytes>>> for Echo {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Answer<Response<Full<Bytes>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Answer<Response<Full<Bytes>>> {
        drop(black_box(request));
        Answer::new(self.0, Response::new(Full::new(Bytes::from_static(b"page"))))
    }
}

/// The future of [`Echo`].
#[derive(Debug)]
pub struct Answer<R, E = BoxError> {
    pending: bool,
    response: Option<R>,
    error: PhantomData<fn() -> E>,
}

impl<R, E> Answer<R, E> {
    pub(crate) fn new(inner: Inner, response: R) -> Self {
        let pending = black_box(inner == Inner::Pend);
        Self { pending, response: Some(response), error: PhantomData }
    }
}

impl<R: Unpin, E> Future for Answer<R, E> {
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
