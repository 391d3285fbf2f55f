use std::task::{Context, Poll};

use buttress_core::{ByMode, Judge, Plain, Respond, give_back_ready, seeds};
use tower_service::Service;

use crate::{
    BreakerHandle, ResponseFuture,
    circuits::{CircuitOf, Circuits, HeldCircuit, OneCircuit},
    ticket::Ticket,
};

/// The service of [`BreakerLayer`](crate::BreakerLayer).
#[derive(Clone, Debug)]
pub struct Breaker<S, M = Plain, C = OneCircuit, J = ByMode> {
    inner: S,
    circuits: C,
    mode: M,
    judge: J,
}

impl<S, M, C, J> Breaker<S, M, C, J> {
    pub(crate) const fn new(inner: S, circuits: C, mode: M, judge: J) -> Self {
        Self { inner, circuits, mode, judge }
    }
}

impl<S, M, C: Circuits, J> Breaker<S, M, C, J> {
    /// Returns the handle of this service's circuits, which are the layer's unless the layer is
    /// [`per_service`](crate::BreakerLayer::per_service).
    pub fn handle(&self) -> BreakerHandle<C::View> {
        BreakerHandle::new(self.circuits.view())
    }
}

impl<S, Req, M, C, J> Service<Req> for Breaker<S, M, C, J>
where
    S: Service<Req> + Clone,
    M: Respond<Req, S::Response, S::Error>,
    C: CircuitOf<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    type Response = M::Response<()>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, M, C, J>;

    /// The inner service's readiness. The circuit decides in `call`, where a rejection has a
    /// response.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let seeds = seeds(&self.mode, &self.judge, &request);
        let means = (self.mode.clone(), self.judge.clone());
        let mut ticket = match self.circuits.circuit(&request) {
            None => None,
            Some(held) => match held.circuit().law.admit_if_closed() {
                Some(pass) => Some(Ticket::new(held, pass)),
                None => match Ticket::ask(held) {
                    Ok(admitted) => admitted,
                    Err((held, open)) => {
                        give_back_ready(&mut self.inner);
                        return ResponseFuture::rejected(held, open, seeds, means);
                    }
                },
            },
        };
        let future = Ticket::watch(ticket.as_mut(), || self.inner.call(request));
        ResponseFuture::running(future, ticket, seeds, means)
    }
}
