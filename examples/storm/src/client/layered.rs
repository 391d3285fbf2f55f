//! The client with layers: the buttress stack over the same transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use buttress::throttle::ConcurrencyLimit;
use buttress::{
    Backoff, Budget, Cache, Deadline, DeadlineHandle, DeadlineLayer, DedupHandle, DedupLayer,
    HttpExt, Ratio, RetryHandle, RetryLayer, StopReason, ThrottleHandle, ThrottleLayer,
};
use tower::ServiceBuilder;

use crate::client::decisions::{Decisions, DedupCounts, PER_SECOND, ThrottleCounts};
use crate::client::layer_events;
use crate::client::{Client, Failure, Pages, hyper};
use crate::operations::Operation;

/// A client made of the usual layers in their standard order.
///
/// From the outside in:
///
/// 1. The deadline of the operation, which covers all three reads together.
/// 2. Dedup.
/// 3. Retry. The budget allows `percent` of the calls plus 10 retries a second.
/// 4. The concurrency limit. Time in its queue counts against the operation, not against the attempt.
/// 5. The deadline of an attempt.
/// 6. The transport.
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
        let handles = Handles {
            percent,
            calls: Arc::default(),
            dedup: dedup.handle(),
            retry: retry.handle(),
            throttle: throttle.handle(),
            attempt: attempt.handle(),
        };
        let calls = Arc::clone(&handles.calls);
        let service = ServiceBuilder::new()
            .layer(DeadlineLayer::new(OPERATION_DEADLINE).http())
            .layer(dedup.http())
            .map_request(move |request| {
                calls.fetch_add(1, Relaxed);
                request
            })
            .layer(retry.http())
            .layer(throttle.http())
            .layer(attempt.http())
            .service(hyper());
        Layered { pages: Pages(service), handles }
    }};
}

/// The whole stack. Responses are cached as their headers allow.
pub(crate) fn buttress(name: &'static str, percent: u32, seed: u64) -> impl Client {
    stack!(name, DedupLayer::new().cache(Cache::from_headers().seed(seed)), percent, seed)
}

/// The same stack without a cache.
pub(crate) fn without_cache(name: &'static str, percent: u32, seed: u64) -> impl Client {
    stack!(name, DedupLayer::new(), percent, seed)
}

struct Layered<S> {
    pages: Pages<S>,
    handles: Handles,
}

struct Handles {
    percent: u32,
    calls: Arc<AtomicU64>,
    dedup: DedupHandle,
    retry: RetryHandle,
    throttle: ThrottleHandle<ConcurrencyLimit>,
    attempt: DeadlineHandle,
}

impl<S> Client for Layered<S>
where
    Pages<S>: Client,
    S: Send + Sync + 'static,
{
    async fn run(&self, origin: &str, operation: Operation) -> Result<(), Failure> {
        Deadline::after(OPERATION_DEADLINE).around(self.pages.run(origin, operation)).await
    }

    fn decisions(&self) -> Option<Decisions> {
        let Handles { percent, calls, dedup, retry, throttle, attempt } = &self.handles;
        let stops = StopReason::ALL.iter().map(|&reason| (reason.as_str(), retry.stopped(reason)));
        Some(Decisions {
            calls: calls.load(Relaxed),
            dedup: DedupCounts { followers: dedup.followers(), cache_hits: dedup.cache_hits() },
            retries: retry.retries(),
            retries_by_reason: layer_events::retries_by_reason(),
            stops: stops.filter(|(_, number)| *number > 0).collect(),
            throttled: ThrottleCounts {
                admitted: throttle.admitted(),
                queued: layer_events::queued(),
                rejected: throttle.rejected(),
            },
            attempt_timeouts: attempt.exceeded(),
            deadline: OPERATION_DEADLINE,
            percent: *percent,
        })
    }
}

const OPERATION_DEADLINE: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 6;
const BASE: Duration = Duration::from_millis(50);
const MAX: Duration = Duration::from_millis(400);
const PER_ATTEMPT: Duration = Duration::from_millis(150);

/// The concurrency limit: requests in flight to the upstream.
const LIMIT: u32 = 16;

/// More than one request per caller, so the queue is never full and only a deadline ends a wait.
const QUEUE: usize = 400;
