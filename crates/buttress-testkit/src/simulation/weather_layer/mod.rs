use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use buttress_core::Signals;
use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep};
use tower_layer::Layer;
use tower_service::Service;

use super::context::Simulation;
use super::upstream::Upstream;
use super::weather::{Condition, Weather};

mod fail;

pub use self::fail::{Fail, InjectedFault, PassOn};

/// Lets the calls of a service meet a [`Weather`]: they take time, fail, hang or are refused.
///
/// Put the layer innermost, below the deadline of an attempt. Each attempt then meets a condition
/// of its own.
///
/// ```
/// use buttress_testkit::{Weather, WeatherLayer, simulate};
/// use std::{io, time::Duration};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// let weather = Weather::seeded(7).latency(Duration::from_millis(5), Duration::from_millis(20)).faults(0.2);
/// let (served, _) = simulate(7, async || {
///     let fail = |_| Err(io::Error::from(io::ErrorKind::ConnectionReset));
///     let service = ServiceBuilder::new()
///         .layer(WeatherLayer::new(weather, |n: &u32| *n, fail))
///         .service(service_fn(async |n: u32| Ok::<_, io::Error>(n)));
///     let mut served = 0;
///     for n in 0..1000 {
///         served += u32::from(service.clone().oneshot(n).await.is_ok());
///     }
///     served
/// });
/// assert!((760..840).contains(&served));
/// ```
///
/// # Readiness
///
/// The layer is ready when the inner service is. A call that fails, hangs or is refused does not
/// reach the inner service, which stays ready for the next call.
///
/// The layer keeps the [`contract`](crate::contract) under a weather without latency. With a
/// latency the layer keeps all clauses except [`Waking`](crate::Clause::Waking), because a call
/// that the service has answered ends later.
///
/// # Cancellation
///
/// Dropping the response drops the inner call and the timer.
///
/// # Time
///
/// The start of the weather is that of the [simulation](crate::simulate), or otherwise the instant
/// at which the layer was made. The inner service is called at once, and its response takes the
/// latency on its way back.
///
/// # Sharing
///
/// Clones, and the services they make, count their calls in one [`Upstream`].
#[derive(Clone)]
#[doc(alias("fault injection", "chaos"))]
pub struct WeatherLayer<K, F> {
    weather: Arc<Weather>,
    start: Instant,
    upstream: Upstream,
    key: K,
    fail: F,
}

impl<K, F> WeatherLayer<K, F> {
    /// Creates a layer that asks `weather` with the key of each call. `fail` makes the outcome of a
    /// call that fails, in the service's own type: an error, or a response such as `503`.
    pub fn new<Req, Q, Res, E>(weather: Weather, key: K, fail: F) -> Self
    where
        K: Fn(&Req) -> Q,
        Q: Hash,
        F: Fn(InjectedFault) -> Result<Res, E>,
    {
        Self::build(weather, key, fail)
    }

    fn build(weather: Weather, key: K, fail: F) -> Self {
        let start = Simulation::current().map_or_else(Instant::now, |simulation| simulation.start);
        Self { weather: Arc::new(weather), start, upstream: Upstream::new(), key, fail }
    }

    /// Returns the count of the calls that reached this layer, for
    /// [`Load::upstream`](crate::Load::upstream).
    pub fn upstream(&self) -> Upstream {
        self.upstream.clone()
    }
}

impl<K> WeatherLayer<K, PassOn> {
    /// Creates a layer that injects the latency and the hangs of `weather` only. A call that would
    /// fail or be refused reaches the inner service after its latency.
    pub fn without_faults<Req, Q>(weather: Weather, key: K) -> Self
    where
        K: Fn(&Req) -> Q,
        Q: Hash,
    {
        Self::build(weather, key, PassOn)
    }
}

impl<K, F> fmt::Debug for WeatherLayer<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { weather, start, .. } = self;
        f.debug_struct("WeatherLayer")
            .field("weather", weather)
            .field("start", start)
            .finish_non_exhaustive()
    }
}

impl<S, K: Clone, F: Clone> Layer<S> for WeatherLayer<K, F> {
    type Service = WeatherService<S, K, F>;

    fn layer(&self, inner: S) -> Self::Service {
        WeatherService { inner, layer: self.clone() }
    }
}

/// The service of a [`WeatherLayer`].
#[derive(Clone, Debug)]
pub struct WeatherService<S, K, F> {
    inner: S,
    layer: WeatherLayer<K, F>,
}

impl<S, Req, K, Q, F> Service<Req> for WeatherService<S, K, F>
where
    S: Service<Req>,
    K: Fn(&Req) -> Q,
    Q: Hash,
    F: Fail<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = WeatherFuture<S::Future, S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let WeatherLayer { weather, start, upstream, key, fail } = &self.layer;
        upstream.record();
        let condition = weather.at(&key(&request), start.elapsed());
        let latency = condition.latency().unwrap_or_default();
        let state = match InjectedFault::of(condition).and_then(|fault| fail.fail(fault)) {
            Some(outcome) => State::delayed(latency, outcome, None),
            None if condition == Condition::Hang => State::Hang,
            None => State::Inner { inner: self.inner.call(request), latency },
        };
        WeatherFuture { state }
    }
}

/// The response of a [`WeatherService`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct WeatherFuture<Fut, Res, E> {
    #[pin]
    state: State<Fut, Res, E>,
}

#[pin_project(project = StateProjection)]
enum State<Fut, Res, E> {
    Inner {
        #[pin]
        inner: Fut,
        latency: Duration,
    },
    /// The outcome is on its way.
    Delayed {
        /// `None` if the latency is zero: a timer would wait for the next millisecond.
        #[pin]
        sleep: Option<Sleep>,
        /// `None` once the outcome was returned.
        outcome: Option<Result<Res, E>>,
        /// The signals of the inner service, which belong to the poll that returns the outcome.
        signals: Option<Signals>,
    },
    Hang,
}

impl<Fut, Res, E> State<Fut, Res, E> {
    fn delayed(
        latency: Duration,
        outcome: Result<Res, E>,
        signals: impl Into<Option<Signals>>,
    ) -> Self {
        let sleep = if latency.is_zero() { None } else { Some(sleep(latency)) };
        Self::Delayed { sleep, outcome: Some(outcome), signals: signals.into() }
    }
}

impl<Fut, Res, E> Future for WeatherFuture<Fut, Res, E>
where
    Fut: Future<Output = Result<Res, E>>,
{
    type Output = Result<Res, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjection::Inner { inner, latency } => {
                    let (outcome, signals) = Signals::watch(|| inner.poll(cx));
                    let Poll::Ready(outcome) = outcome else {
                        signals.raise();
                        return Poll::Pending;
                    };
                    let latency = *latency;
                    state.set(State::delayed(latency, outcome, signals));
                }
                StateProjection::Delayed { sleep, outcome, signals } => {
                    if let Some(sleep) = sleep.as_pin_mut().filter(|sleep| !sleep.is_elapsed()) {
                        ready!(sleep.poll(cx));
                    }
                    let Some(outcome) = outcome.take() else { return Poll::Pending };
                    if let Some(signals) = signals.take() {
                        signals.raise();
                    }
                    return Poll::Ready(outcome);
                }
                StateProjection::Hang => return Poll::Pending,
            }
        }
    }
}

impl<Fut, Res, E> fmt::Debug for WeatherFuture<Fut, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeatherFuture").finish_non_exhaustive()
    }
}
