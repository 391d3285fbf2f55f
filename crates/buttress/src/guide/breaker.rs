use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use buttress::layer_api::{
    Bind, Classify, Deadline, Origin, Plain, Reason, Rejection, Respond, Verdict, give_back_ready,
};
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

/// Rejects calls for a while after a number of failures in a row.
#[derive(Clone, Debug)]
pub struct BreakerLayer<M = Plain> {
    circuit: Arc<Circuit>,
    mode: M,
}

impl BreakerLayer {
    /// Opens after `failures` failures in a row, and lets one probe through after each `pause`.
    pub fn new(failures: u32, pause: Duration) -> Self {
        let phase = Mutex::new((0, Phase::Closed { failures: 0 }));
        Self { circuit: Arc::new(Circuit { failures, pause, phase }), mode: Plain }
    }
}

impl<S, M: Clone> Layer<S> for BreakerLayer<M> {
    type Service = Breaker<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Breaker { inner, circuit: Arc::clone(&self.circuit), mode: self.mode.clone() }
    }
}

impl<M0, M> Bind<M> for BreakerLayer<M0> {
    type Bound = BreakerLayer<M>;

    fn bind(self, mode: M) -> BreakerLayer<M> {
        BreakerLayer { circuit: self.circuit, mode }
    }
}

/// The service of [`BreakerLayer`].
#[derive(Clone, Debug)]
pub struct Breaker<S, M = Plain> {
    inner: S,
    circuit: Arc<Circuit>,
    mode: M,
}

impl<S, Req, M> Service<Req> for Breaker<S, M>
where
    S: Service<Req> + Clone,
    M: Respond<Req, S::Response, S::Error> + Classify<Req, S::Response, S::Error>,
{
    type Response = M::Response<()>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let seeds = (Respond::seed(&self.mode, &request), Classify::seed(&self.mode, &request));
        let pass = Pass::take(&self.circuit);
        let future = pass.is_ok().then(|| self.inner.call(request));
        if future.is_none() {
            // The instance that was polled ready may hold a permit of a layer below.
            give_back_ready(&mut self.inner);
        }
        ResponseFuture { future, pass: Some(pass), seeds: Some(seeds), mode: self.mode.clone() }
    }
}

/// The future of [`Breaker`].
#[pin_project]
pub struct ResponseFuture<S, Req, M>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error> + Classify<Req, S::Response, S::Error>,
{
    #[pin]
    future: Option<S::Future>,
    pass: Option<Result<Pass, Rejection>>,
    seeds: Option<Seeds<S, Req, M>>,
    mode: M,
}

impl<S, Req, M> Future for ResponseFuture<S, Req, M>
where
    S: Service<Req>,
    M: Respond<Req, S::Response, S::Error> + Classify<Req, S::Response, S::Error>,
{
    type Output = Result<M::Response<()>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = this.future.as_pin_mut().map(|future| future.poll(cx));
        if let Some(Poll::Pending) = outcome {
            return Poll::Pending;
        }
        Poll::Ready(match (outcome, this.pass.take(), this.seeds.take()) {
            (Some(Poll::Ready(outcome)), Some(Ok(pass)), Some((seed, judged))) => {
                pass.settle(this.mode.classify(&judged, outcome.as_ref()));
                outcome.map(|response| this.mode.admit(seed, response, None::<()>))
            }
            (_, Some(Err(rejection)), Some((seed, _))) => this.mode.reject(seed, rejection),
            _ => unreachable!("polled after its end"),
        })
    }
}

/// What is remembered of a request: for a rejection, and for the verdict.
type Seeds<S, Req, M> = (
    <M as Respond<Req, <S as Service<Req>>::Response, <S as Service<Req>>::Error>>::Seed,
    <M as Classify<Req, <S as Service<Req>>::Response, <S as Service<Req>>::Error>>::Seed,
);

#[derive(Debug)]
struct Circuit {
    failures: u32,
    pause: Duration,
    /// The phase and its number. No foreign code runs under this lock.
    phase: Mutex<(u64, Phase)>,
}

#[derive(Debug)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Deadline },
    Probing,
}

/// The right to make one call, and the number of the phase it was given in.
struct Pass {
    circuit: Arc<Circuit>,
    number: u64,
}

impl Pass {
    fn take(circuit: &Arc<Circuit>) -> Result<Self, Rejection> {
        let reject = |wait| Err(Rejection::new(Reason::CircuitOpen, ORIGIN).after(wait));
        let mut phase = circuit.lock();
        match phase.1 {
            Phase::Closed { .. } => {}
            Phase::Open { until } if until.has_passed() => *phase = (phase.0 + 1, Phase::Probing),
            Phase::Open { until } => return reject(until.remaining()),
            Phase::Probing => return reject(circuit.pause),
        }
        Ok(Self { circuit: Arc::clone(circuit), number: phase.0 })
    }

    fn settle(self, verdict: Verdict) {
        let failed = match verdict {
            Verdict::Success | Verdict::Permanent => false,
            // Says nothing about the service. If this was the probe, `drop` makes way for another.
            Verdict::Rejected { .. } => return,
            _ => true,
        };
        let open = Phase::Open { until: Deadline::after(self.circuit.pause) };
        let mut phase = self.circuit.lock();
        *phase = match phase.1 {
            // The call began in an earlier phase and says nothing about this one.
            _ if phase.0 != self.number => return,
            Phase::Closed { failures } if failed && failures + 1 < self.circuit.failures => {
                (phase.0, Phase::Closed { failures: failures + 1 })
            }
            Phase::Closed { .. } if !failed => (phase.0, Phase::Closed { failures: 0 }),
            _ if !failed => (phase.0 + 1, Phase::Closed { failures: 0 }),
            _ => (phase.0 + 1, open),
        };
        let opened = matches!(phase.1, Phase::Open { .. });
        drop(phase);
        if opened {
            tracing::warn!(name: "breaker.opened", instance = ORIGIN.name());
        }
    }
}

impl Drop for Pass {
    /// Makes way for another probe, if this one was dropped without a verdict.
    fn drop(&mut self) {
        let mut phase = self.circuit.lock();
        if phase.0 == self.number && matches!(phase.1, Phase::Probing) {
            *phase = (phase.0 + 1, Phase::Open { until: Deadline::after(Duration::ZERO) });
        }
    }
}

impl Circuit {
    fn lock(&self) -> MutexGuard<'_, (u64, Phase)> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ORIGIN: Origin = Origin::new("breaker");
