//! The client with controls: the buttress stack over the same transport.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use buttress::throttle::ConcurrencyLimit;
use buttress::{
    Backoff, Budget, Cache, Deadline, DeadlineHandle, DeadlineLayer, DedupHandle, DedupLayer,
    HttpExt, Ratio, RetryHandle, RetryLayer, StopReason, ThrottleHandle, ThrottleLayer,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Empty;
use serde::Serialize;
use tower::{Service, ServiceBuilder};

use crate::client::layer_events;
use crate::client::{Client, Failure, hyper, read};
use crate::operations::Operation;

/// A client made of the usual layers in their standard order.
///
/// Outermost the caller's patience, which covers the three reads of an operation together, then
/// dedup, then retry, then the limit, then the deadline of one attempt, then the transport: a request that
/// waits for a permit waits on its caller's time and not on the attempt's. Retries may be `percent` of
/// the calls and ten a second.
macro_rules! stack {
    ($name:expr, $dedup:expr, $percent:expr, $seed:expr) => {{
        let (name, percent, dedup) = ($name, $percent, $dedup.named($name));
        let budget = Budget::new(Ratio::percent(percent), PER_SECOND);
        let retry = RetryLayer::new(ATTEMPTS)
            .backoff(Backoff::exponential(BASE, MAX))
            .budget(budget)
            .named(name)
            .seed($seed);
        let throttle = ThrottleLayer::concurrency(LIMIT).queue(QUEUE).named(name);
        let attempt = DeadlineLayer::new(PER_ATTEMPT);
        let controls = Controls {
            percent,
            calls: Arc::default(),
            dedup: dedup.handle(),
            retry: retry.handle(),
            throttle: throttle.handle(),
            attempt: attempt.handle(),
        };
        let calls = Arc::clone(&controls.calls);
        let service = ServiceBuilder::new()
            .layer(DeadlineLayer::new(PATIENCE).http())
            .layer(dedup.http())
            .map_request(move |request| {
                calls.fetch_add(1, Relaxed);
                request
            })
            .layer(retry.http())
            .layer(throttle.http())
            .layer(attempt.http())
            .service(hyper());
        Controlled { service, controls }
    }};
}

/// The whole stack. Answers are kept as their headers say.
pub(crate) fn buttress(name: &'static str, percent: u32, seed: u64) -> impl Client {
    stack!(name, DedupLayer::new().cache(Cache::from_headers().seed(seed)), percent, seed)
}

/// The same, but nothing is kept.
pub(crate) fn without_cache(name: &'static str, percent: u32, seed: u64) -> impl Client {
    stack!(name, DedupLayer::new(), percent, seed)
}

/// What the layers of one client decided.
#[derive(Clone, Debug)]
pub(crate) struct Decisions {
    /// Calls made of the retry: up to three an operation, less those that dedup spared.
    pub(crate) calls: u64,
    pub(crate) dedup: Shared,
    pub(crate) retries: u64,
    /// The same by the verdict on the attempt before.
    pub(crate) retries_by_reason: BTreeMap<&'static str, u64>,
    pub(crate) stops: BTreeMap<&'static str, u64>,
    pub(crate) throttled: Throttled,
    /// Attempts that ran into their deadline.
    pub(crate) attempt_timeouts: u64,
    pub(crate) deadline: Duration,
    percent: u32,
}

/// The calls that dedup answered without a call of its own.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Shared {
    /// Those that joined another's.
    pub(crate) followers: u64,
    /// Those that got what was kept.
    pub(crate) cache_hits: u64,
}

/// What a limit did with the requests that came to it, the retries among them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
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
            dedup: Shared::default(),
            retries: 0,
            retries_by_reason: BTreeMap::new(),
            stops: BTreeMap::new(),
            throttled: Throttled::default(),
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

struct Controlled<S> {
    service: S,
    controls: Controls,
}

struct Controls {
    percent: u32,
    calls: Arc<AtomicU64>,
    dedup: DedupHandle,
    retry: RetryHandle,
    throttle: ThrottleHandle<ConcurrencyLimit>,
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
        let Controls { percent, calls, dedup, retry, throttle, attempt } = &self.controls;
        let stops = StopReason::ALL.iter().map(|&why| (why.as_str(), retry.stopped(why)));
        Some(Decisions {
            calls: calls.load(Relaxed),
            dedup: Shared { followers: dedup.followers(), cache_hits: dedup.cache_hits() },
            retries: retry.retries(),
            retries_by_reason: layer_events::retries_by_reason(),
            stops: stops.filter(|(_, number)| *number > 0).collect(),
            throttled: Throttled {
                admitted: throttle.admitted(),
                queued: layer_events::queued(),
                rejected: throttle.rejected(),
            },
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

/// Requests on the wire at a time.
const LIMIT: u32 = 16;

/// Room for a request of each caller and more, so that only a deadline ends a wait.
const QUEUE: usize = 400;

/// The window of a retry budget, whose floor may be spent at once.
const WINDOW: Duration = Duration::from_secs(10);
