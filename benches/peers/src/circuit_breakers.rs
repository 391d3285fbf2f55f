use std::task::{Context, Poll};

use buttress_benches::{Case, Echo, EchoFuture, Pattern, Workload, drive_plain};
use recloser::{AnyError, AsyncRecloser, Recloser, RecloserFuture};
use tower::{BoxError, Service};

/// Circuit breakers that are not layers: each wraps the future of a call.
pub(crate) fn cases() -> [Case; 2] {
    [
        Case::new(Pattern::Breaker, "recloser 1.4", Workload::Plain, |inner, calls| {
            let breaker = AsyncRecloser::from(Recloser::default());
            drive_plain(WithRecloser { breaker, inner: Echo(inner) }, calls)
        }),
        Case::new(Pattern::Breaker, "failsafe 1.3", Workload::Plain, |inner, calls| {
            let breaker = failsafe::Config::new().build();
            drive_plain(WithFailsafe { breaker, inner: Echo(inner) }, calls)
        }),
    ]
}

struct WithRecloser {
    breaker: AsyncRecloser,
    inner: Echo,
}

impl Service<u64> for WithRecloser {
    type Response = u64;
    type Error = recloser::Error<BoxError>;
    type Future = RecloserFuture<EchoFuture<u64>, AnyError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        self.breaker.call(self.inner.call(request))
    }
}

struct WithFailsafe<B> {
    breaker: B,
    inner: Echo,
}

impl<B: failsafe::futures::CircuitBreaker> Service<u64> for WithFailsafe<B> {
    type Response = u64;
    type Error = failsafe::Error<BoxError>;
    type Future = failsafe::futures::ResponseFuture<
        EchoFuture<u64>,
        B::FailurePolicy,
        B::Instrument,
        failsafe::Any,
    >;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        self.breaker.call(self.inner.call(request))
    }
}
