//! The client with layers: the buttress stack over the same transport.

use std::time::Duration;

use buttress::http_grpc::Authority;
use buttress::throttle::ConcurrencyLimit;
use buttress::{
    Backoff, BreakerLayer, Budget, Cache, Deadline, DeadlineHandle, DeadlineLayer, DedupHandle,
    DedupLayer, HedgeHandle, HedgeLayer, HttpExt, Ratio, RetryHandle, RetryLayer, StopReason,
    ThrottleHandle, ThrottleLayer,
};

use crate::client::decisions::{Decisions, DedupCounts, HedgeCounts, PER_SECOND, ThrottleCounts};
use crate::client::layer_events;
use crate::client::{Client, Failure, Pages, hyper};
use crate::operations::Operation;
use crate::upstream::simulated::SimulatedUpstream;

/// The numbers of a client that its row states.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) name: &'static str,
    /// Retries that the budget allows per 100 calls. 10 a second are free.
    pub(crate) percent: u32,
    pub(crate) seed: u64,
}

impl Settings {
    fn retry(self) -> RetryLayer {
        RetryLayer::new(ATTEMPTS)
            .backoff(Backoff::exponential(BASE, MAX))
            .budget(Budget::new(Ratio::percent(self.percent), PER_SECOND))
            .seed(self.seed)
    }

    /// Responses are cached as their headers allow.
    fn cache(self) -> Cache {
        Cache::from_headers().seed(self.seed)
    }
}

/// A client of the usual layers: `buttress::client()` with the numbers of the storm.
///
/// From the outside in:
///
/// 1. The deadline of the operation, which covers all three reads together.
/// 2. Dedup.
/// 3. Retry, with its budget.
/// 4. A hedge, or a hedge and a breaker.
/// 5. The concurrency limit. Time in its queue counts against the operation, not against the attempt.
/// 6. The deadline of an attempt.
/// 7. The transport.
macro_rules! layered {
    ($transport:expr, $settings:expr, $dedup:expr, $retry:expr, $hedge:expr, $($place:ident: $layer:expr),*) => {{
        let Settings { name, percent, .. } = $settings;
        let (dedup, retry, hedge) = ($dedup, $retry, $hedge);
        let throttle = ThrottleLayer::concurrency(LIMIT).queue(QUEUE);
        let attempt = DeadlineLayer::new(PER_ATTEMPT);
        let handles = Handles {
            percent,
            dedup: dedup.handle(),
            retry: retry.handle(),
            hedge,
            throttle: throttle.handle(),
            attempt: attempt.handle(),
        };
        let client = buttress::client()
            .named(name)
            .deadline(DeadlineLayer::new(OPERATION_DEADLINE))
            .dedup(dedup)
            .retry(retry)
            .without_breaker()
            $(.$place($layer))*
            .throttle(throttle)
            .attempt(attempt);
        Layered { pages: Pages(client.http().service($transport)), handles }
    }};
}

/// The whole stack. The hedge draws on the budget of the retry too.
macro_rules! whole {
    ($transport:expr, $settings:expr) => {{
        let (settings, hedge) = ($settings, HedgeLayer::learned());
        let handle = hedge.handle();
        let dedup = DedupLayer::new().cache(settings.cache());
        layered!($transport, settings, dedup, settings.retry(), Some(handle), hedge: hedge)
    }};
}

/// The whole stack over sockets.
pub(crate) fn buttress(settings: Settings) -> impl Client {
    whole!(hyper(), settings)
}

/// The whole stack over an upstream in virtual time.
pub(crate) fn simulated(settings: Settings, upstream: SimulatedUpstream) -> impl Client {
    whole!(upstream, settings)
}

/// The stack without a cache. Without a cache all permits are in use, so a hedge would be refused.
pub(crate) fn without_cache(settings: Settings) -> impl Client {
    layered!(hyper(), settings, DedupLayer::new(), settings.retry(), None,)
}

/// The whole stack without the hedge.
pub(crate) fn without_hedge(settings: Settings) -> impl Client {
    let dedup = DedupLayer::new().cache(settings.cache());
    layered!(hyper(), settings, dedup, settings.retry(), None,)
}

/// The whole stack, and below its hedge a breaker that suits outages of 300 ms.
///
/// A retry waits for the circuit, and after 250 ms the circuit admits all calls again.
pub(crate) fn with_breaker(settings: Settings) -> impl Client {
    let hedge = HedgeLayer::learned();
    let handle = hedge.handle();
    let breaker = BreakerLayer::new()
        .open_for(Backoff::constant(OPEN_FOR))
        .probes(PROBES, 3)
        .ramp(OPEN_FOR, &[])
        .seed(settings.seed)
        .per(Authority);
    let dedup = DedupLayer::new().cache(settings.cache());
    let retry = settings.retry().wait_for_circuit();
    layered!(hyper(), settings, dedup, retry, Some(handle), hedge: hedge, breaker: breaker)
}

struct Layered<S> {
    pages: Pages<S>,
    handles: Handles,
}

struct Handles {
    percent: u32,
    dedup: DedupHandle,
    retry: RetryHandle,
    hedge: Option<HedgeHandle>,
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
        let Handles { percent, dedup, retry, hedge, throttle, attempt } = &self.handles;
        let stops = StopReason::ALL.iter().map(|&reason| (reason.as_str(), retry.stopped(reason)));
        Some(Decisions {
            calls: retry.calls(),
            dedup: DedupCounts { followers: dedup.followers(), cache_hits: dedup.cache_hits() },
            retries: retry.retries(),
            retries_by_reason: layer_events::retries_by_reason(),
            stops: stops.filter(|(_, number)| *number > 0).collect(),
            hedge: hedge.as_ref().map(HedgeCounts::new),
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

/// The interval of the breaker: less than an outage, because the circuit opens during the outage.
const OPEN_FOR: Duration = Duration::from_millis(250);

/// More than the callers, so the concurrency limit alone bounds the probes.
const PROBES: u32 = 1000;
