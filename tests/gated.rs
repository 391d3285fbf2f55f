use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tower::Service;

use crate::Work;

/// A service whose calls wait until the test allows them to begin.
#[derive(Clone, Debug)]
pub struct Gated<S> {
    inner: S,
    gate: Work,
}

impl<S> Gated<S> {
    /// Wraps `inner`. Each call waits for `gate` first.
    pub const fn new(gate: Work, inner: S) -> Self {
        Self { inner, gate }
    }
}

impl<S, Req> Service<Req> for Gated<S>
where
    S: Service<Req, Future: Send + 'static> + Clone + Send + 'static,
    Req: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let clone = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, clone);
        let gate = self.gate.clone();
        Box::pin(async move {
            gate.call().await;
            ready.call(request).await
        })
    }
}
