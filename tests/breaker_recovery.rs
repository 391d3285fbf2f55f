//! A breaker in a stack, through outages, on paused time: what the service sees, and what the callers get.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]
#![expect(clippy::disallowed_methods, reason = "callers run in tasks of their own here")]

use std::{
    future::{Future, ready},
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress::{
    BoxError, DeadlineLayer, RetryLayer, ThrottleLayer,
    breaker::{BreakerLayer, CircuitState},
};
use tokio::time::{Instant, sleep, sleep_until};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A service that takes 5 to 20 ms, and is down for a while.
#[derive(Clone)]
struct Upstream {
    start: Instant,
    outage: Range<Duration>,
    /// The time of each call since the start.
    calls: Arc<Mutex<Vec<Duration>>>,
}

impl Upstream {
    fn new(outage: Range<Duration>) -> Self {
        Self { start: Instant::now(), outage, calls: Arc::default() }
    }

    async fn serve(self, call: u64) -> Result<u64, BoxError> {
        let now = self.start.elapsed();
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(now);
            calls.len()
        };
        let chance = mix(number.try_into().unwrap());
        sleep(ms(5 + chance % 16)).await;
        if self.outage.contains(&now) {
            return Err("lost".into());
        }
        Ok(call)
    }

    fn seen(&self, within: Range<Duration>) -> usize {
        self.calls.lock().unwrap().iter().filter(|at| within.contains(at)).count()
    }
}

/// `SplitMix64`.
const fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Offers a call `every` so often, each in a task of its own. Returns the start of each call, and whether it
/// was served.
async fn offer<S>(service: S, every: Duration, time: Duration) -> Vec<(Duration, bool)>
where
    S: Service<u64, Response = u64, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    let start = Instant::now();
    let log = Arc::new(Mutex::new(Vec::new()));
    let calls = u64::try_from(time.as_nanos() / every.as_nanos()).unwrap();
    for call in 0..calls {
        let at = every * u32::try_from(call).unwrap();
        sleep_until(start + at).await;
        let (service, log) = (service.clone(), Arc::clone(&log));
        tokio::spawn(async move {
            let served = service.oneshot(call).await.is_ok();
            log.lock().unwrap().push((at, served));
        });
    }
    // Longer than the deadline of the last call.
    sleep(40 * SECOND).await;
    Arc::into_inner(log).unwrap().into_inner().unwrap()
}

/// deadline → retry → breaker → limit → deadline of the attempt.
fn stack(
    breaker: BreakerLayer,
    upstream: &Upstream,
) -> impl Service<
    u64,
    Response = u64,
    Error = BoxError,
    Future: Future<Output = Result<u64, BoxError>> + Send,
>
+ Clone
+ Send
+ 'static
+ use<> {
    let upstream = upstream.clone();
    stack_over(breaker, service_fn(move |call| upstream.clone().serve(call)))
}

fn stack_over<S>(
    breaker: BreakerLayer,
    service: S,
) -> impl Service<
    u64,
    Response = u64,
    Error = BoxError,
    Future: Future<Output = Result<u64, BoxError>> + Send,
>
+ Clone
+ Send
+ 'static
+ use<S>
where
    S: Service<u64, Response = u64, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    ServiceBuilder::new()
        .layer(DeadlineLayer::new(30 * SECOND))
        .layer(RetryLayer::new(3).seed(1))
        .layer(breaker)
        .layer(ThrottleLayer::concurrency(1000))
        .layer(DeadlineLayer::new(10 * SECOND))
        .service(service)
}

/// CO-13.
#[tokio::test(start_paused = true)]
async fn dead_service_sees_a_burst_until_the_circuit_opens_and_then_probes_only() {
    for seed in 1..=3 {
        let upstream = Upstream::new(Duration::ZERO..1000 * SECOND);
        let breaker = BreakerLayer::new().seed(seed);
        let handle = breaker.handle();
        let log = offer(stack(breaker, &upstream), ms(1), 60 * SECOND).await;
        assert!(log.iter().all(|(_, served)| !served));
        // Twenty failures, and the calls in flight until the last of them: 20 ms at 1,000 a second.
        let burst = upstream.seen(Duration::ZERO..ms(500));
        assert!(burst <= 20 + 20, "seed {seed}: {burst}");
        let probes = upstream.seen(ms(500)..60 * SECOND);
        let intervals = usize::try_from(handle.opened()).unwrap();
        assert!(intervals >= 6, "seed {seed}: {intervals}");
        assert!(probes <= 5 * intervals, "seed {seed}: {probes} in {intervals} intervals");
    }
}

/// The second from which on every call is served, after `end`.
fn recovered_after(log: &[(Duration, bool)], end: Duration) -> Duration {
    let lost = log.iter().filter(|(_, served)| !served).map(|(at, _)| *at).max();
    lost.unwrap_or_default().saturating_sub(end)
}

/// CO-14.
#[tokio::test(start_paused = true)]
async fn all_load_is_served_again_within_16_seconds_after_an_outage_of_30() {
    for seed in 1..=4 {
        let upstream = Upstream::new(10 * SECOND..40 * SECOND);
        let breaker = BreakerLayer::new().seed(seed);
        let handle = breaker.handle();
        let log = offer(stack(breaker, &upstream), ms(5), 80 * SECOND).await;
        let recovered = recovered_after(&log, 40 * SECOND);
        assert!(recovered <= 16 * SECOND, "seed {seed}: {recovered:?}");
        assert_eq!(handle.state(), CircuitState::Closed, "seed {seed}");
        let lost_before = log.iter().any(|(at, served)| *at < 9 * SECOND && !served);
        assert!(!lost_before, "seed {seed}");
    }
}

/// The breaker alone: without a retry, no call of the ramp comes again.
#[tokio::test(start_paused = true)]
async fn breaker_alone_serves_all_load_again_within_16_seconds_after_an_outage_of_30() {
    for seed in 1..=4 {
        let upstream = Upstream::new(10 * SECOND..40 * SECOND);
        let breaker = BreakerLayer::new().seed(seed);
        let serving = upstream.clone();
        let service = ServiceBuilder::new()
            .layer(breaker)
            .service(service_fn(move |call| serving.clone().serve(call)));
        let log = offer(service, ms(5), 80 * SECOND).await;
        let recovered = recovered_after(&log, 40 * SECOND);
        assert!(recovered <= 16 * SECOND, "seed {seed}: {recovered:?}");
        // After the trip: five probes in each of at least three intervals, and no more.
        assert!(upstream.seen(11 * SECOND..40 * SECOND) <= 5 * 20);
    }
}

/// A flaky network: a quarter of the calls fail, for an hour at 200 calls a second. In steps of 50 ms, and with
/// answers at once, because an hour is long.
#[tokio::test(start_paused = true)]
async fn network_that_loses_a_quarter_of_the_calls_never_opens_the_circuit_in_an_hour() {
    let mut number = 0;
    let lost = move |call| {
        number += 1;
        ready(if (mix(number) >> 32) % 100 < 25 { Err("lost".into()) } else { Ok(call) })
    };
    let lost = Arc::new(Mutex::new(lost));
    let network = service_fn(move |call| (lost.lock().unwrap())(call));
    let breaker = BreakerLayer::new().seed(1);
    let handle = breaker.handle();
    let service = stack_over(breaker, network);
    for _ in 0..3600 * 20 {
        for call in 0..10 {
            let mut call = Box::pin(service.clone().oneshot(call));
            // Most calls end here, and need no task.
            if poll_once(call.as_mut()).is_pending() {
                tokio::spawn(call);
            }
        }
        sleep(ms(50)).await;
    }
    assert_eq!((handle.opened(), handle.rejected()), (0, 0));
    let counts = handle.counts();
    assert!(counts.calls > 2000 && counts.failures * 5 > counts.calls, "{counts:?}");
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
