//! The client with controls: the buttress stack over the same transport.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use buttress::throttle::ConcurrencyLimit;
use buttress::{
    Backoff, Budget, Deadline, DeadlineHandle, DeadlineLayer, HttpExt, Ratio, RetryHandle,
    RetryLayer, Stop, ThrottleHandle, ThrottleLayer,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Empty;
use serde::Serialize;
use tower::{Service, ServiceBuilder};

use crate::client::{Client, Failure, hyper, read};
use crate::listener;
use crate::operations::Operation;

/// A client made of the usual layers in their standard order.
///
/// Outermost the caller's patience, which covers the three reads of an operation together, then
/// retry, then the limit, then the deadline of one attempt, then the transport: a request that waits
/// for a permit waits on its caller's time and not on the attempt's. Retries may be `percent` of the
/// calls and ten a second.
pub(crate) fn buttress(
    name: &'static str,
    percent: u32,
    limit: Option<u32>,
    seed: u64,
) -> impl Client {
    let budget = Budget::new(Ratio::percent(percent), PER_SECOND);
    let retry = RetryLayer::new(ATTEMPTS)
        .backoff(Backoff::exponential(BASE, MAX))
        .budget(budget)
        .named(name)
        .seed(seed);
    let throttle = ThrottleLayer::concurrency(limit.unwrap_or(u32::MAX)).queue(QUEUE).named(name);
    let attempt = DeadlineLayer::new(PER_ATTEMPT);
    let controls = Controls {
        percent,
        calls: Arc::default(),
        retry: retry.handle(),
        throttle: limit.map(|_| throttle.handle()),
        attempt: attempt.handle(),
    };
    let calls = Arc::clone(&controls.calls);
    let service = ServiceBuilder::new()
        .map_request(move |request| {
            calls.fetch_add(1, Relaxed);
            request
        })
        .layer(DeadlineLayer::new(PATIENCE).http())
        .layer(retry.http())
        .layer(throttle.http())
        .layer(attempt.http())
        .service(hyper());
    Controlled { service, controls }
}

/// What the layers of one client decided.
#[derive(Clone, Debug)]
pub(crate) struct Decisions {
    /// Calls made of the stack: up to three an operation.
    pub(crate) calls: u64,
    pub(crate) retries: u64,
    /// The same by the verdict on the attempt before.
    pub(crate) retries_by_reason: BTreeMap<&'static str, u64>,
    pub(crate) stops: BTreeMap<&'static str, u64>,
    /// What the limit did; `None` where there is none.
    pub(crate) throttled: Option<Throttled>,
    /// Attempts that ran into their deadline.
    pub(crate) attempt_timeouts: u64,
    pub(crate) deadline: Duration,
    percent: u32,
}

/// What a limit did with the requests that came to it, the retries among them.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Throttled {
    pub(crate) admitted: u64,
    /// Those that had to wait before, for a while.
    pub(crate) queued: u64,
    pub(crate) rejected: u64,
}

impl Decisions {
    #[cfg(test)]
    pub(crate) fn none(deadline: Duration) -> Self {
        Self {
            calls: 0,
            retries: 0,
            retries_by_reason: BTreeMap::new(),
            stops: BTreeMap::new(),
            throttled: None,
            attempt_timeouts: 0,
            deadline,
            percent: 0,
        }
    }

    /// How many retries the budget allows in a run of this length, with its whole reserve spent.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small and positive"
    )]
    pub(crate) fn allowed(&self, run: Duration) -> u64 {
        let of_calls = self.calls * u64::from(self.percent) / 100;
        of_calls + ((run + WINDOW).as_secs_f64() * f64::from(PER_SECOND)) as u64
    }
}

#[derive(Clone)]
struct Controlled<S> {
    service: S,
    controls: Controls,
}

#[derive(Clone)]
struct Controls {
    percent: u32,
    calls: Arc<AtomicU64>,
    retry: RetryHandle,
    throttle: Option<ThrottleHandle<ConcurrencyLimit>>,
    attempt: DeadlineHandle,
}

impl<S, B> Client for Controlled<S>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error: Send + 'static, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data: Send, Error: Send + 'static> + Send,
{
    async fn run(&self, origin: &str, operation: Operation) -> Result<(), Failure> {
        Deadline::after(PATIENCE).around(read(&self.service, origin, operation)).await
    }

    fn decisions(&self) -> Option<Decisions> {
        let Controls { percent, calls, retry, throttle, attempt } = &self.controls;
        let stops = Stop::ALL.into_iter().map(|why| (why.as_str(), retry.stopped(why)));
        Some(Decisions {
            calls: calls.load(Relaxed),
            retries: retry.retries(),
            retries_by_reason: listener::retries_by_reason(),
            stops: stops.filter(|(_, number)| *number > 0).collect(),
            throttled: throttle.as_ref().map(|throttle| Throttled {
                admitted: throttle.admitted(),
                queued: listener::queued(),
                rejected: throttle.rejected(),
            }),
            attempt_timeouts: attempt.exceeded(),
            deadline: PATIENCE,
            percent: *percent,
        })
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 6;
const BASE: Duration = Duration::from_millis(50);
const MAX: Duration = Duration::from_millis(400);
const PER_ATTEMPT: Duration = Duration::from_millis(150);
const PER_SECOND: u32 = 10;

/// Room for a request of each caller and more, so that only a deadline ends a wait.
const QUEUE: usize = 400;

/// The window of a retry budget, whose floor may be spent at once.
const WINDOW: Duration = Duration::from_secs(10);
