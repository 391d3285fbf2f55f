//! Adaptive limits before a service with a fixed number of servers, on paused time: Poisson arrivals at
//! twice what it can do, exponential service times (M/M/c), and half of the servers lost on the way.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress_control::{Adapt, Aimd, Gradient, Gradient2, Trend, Vegas};
use buttress_core::{BoxError, ByMode, Plain};
use buttress_throttle::{Adaptive, ConcurrencyLimit, ThrottleLayer};
use fastrand::Rng;
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};
use tower::{Layer, ServiceExt, service_fn};

/// The mean service time: a timer's millisecond is nothing beside it.
const SERVICE: f64 = 1.0;
const SERVERS: u32 = 20;

type Limited<L> = ThrottleLayer<Plain, ConcurrencyLimit<Adaptive<L>>, ByMode>;

/// Calls at twice the capacity of twenty servers.
struct Overload<L> {
    layer: Limited<L>,
    servers: Arc<Semaphore>,
    /// Servers that are to be lost when they have finished their current call.
    leaving: Arc<AtomicU32>,
    answered: Arc<AtomicU32>,
    calls: JoinSet<()>,
    random: Rng,
}

impl<L: Adapt> Overload<L> {
    fn new(law: L, seed: u64) -> Self {
        Self {
            layer: ThrottleLayer::adaptive(law),
            servers: Arc::new(Semaphore::new(SERVERS as usize)),
            leaving: Arc::default(),
            answered: Arc::default(),
            calls: JoinSet::new(),
            random: Rng::with_seed(seed),
        }
    }

    fn exponential(&mut self, mean: f64) -> Duration {
        Duration::from_secs_f64(-mean * (1.0 - self.random.f64()).ln())
    }

    /// Runs for so many calls, two for each that could be served. The median limit, and the share of
    /// them that were answered of those that could have been by `servers`.
    async fn run(&mut self, calls: u32, servers: u32) -> (u32, f64) {
        let before = self.answered.load(Ordering::Relaxed);
        let (mut limits, mut took) = (Vec::new(), 0.0);
        for _ in 0..calls {
            let gap = self.exponential(SERVICE / f64::from(2 * SERVERS));
            let work = self.exponential(SERVICE);
            took += gap.as_secs_f64();
            sleep(gap).await;
            let (servers, answered) = (Arc::clone(&self.servers), Arc::clone(&self.answered));
            let leaving = Arc::clone(&self.leaving);
            let service = service_fn(move |work| {
                let (servers, leaving) = (Arc::clone(&servers), Arc::clone(&leaving));
                async move {
                    let server = servers.acquire().await.unwrap();
                    sleep(work).await;
                    let one_less = |left: u32| left.checked_sub(1);
                    if leaving.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
                    {
                        server.forget();
                    }
                    Ok::<_, BoxError>(())
                }
            });
            let service = self.layer.layer(service).boxed_clone();
            self.calls.spawn(async move {
                if service.oneshot(work).await.is_ok() {
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
            while self.calls.try_join_next().is_some() {}
            limits.push(self.layer.handle().limit());
        }
        limits.sort_unstable();
        let answered = self.answered.load(Ordering::Relaxed) - before;
        (
            *limits.get(limits.len() / 2).unwrap(),
            f64::from(answered) * SERVICE / (took * f64::from(servers)),
        )
    }
}

async fn holds(law: impl Adapt) {
    let mut overload = Overload::new(law, 7);
    overload.run(10_000, SERVERS).await;
    let (limit, answered) = overload.run(10_000, SERVERS).await;
    assert!((SERVERS..=2 * SERVERS).contains(&limit), "the median limit is {limit}");
    assert!(answered >= 0.95, "{answered} of the capacity is used");
    overload.leaving.store(SERVERS / 2, Ordering::Relaxed);
    // 200 mean service times are 8000 calls.
    overload.run(8_000, SERVERS / 2).await;
    let (limit, answered) = overload.run(4_000, SERVERS / 2).await;
    assert!((SERVERS / 2..=SERVERS).contains(&limit), "the median limit is {limit} after the loss");
    assert!(answered >= 0.93, "{answered} of the capacity is used after the loss");
    overload.calls.shutdown().await;
    let rejected = u32::try_from(overload.layer.handle().rejected()).unwrap();
    assert!(rejected > 10_000, "what is too much is rejected: {rejected}");
    assert_eq!(overload.layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn aimd_finds_what_the_service_can_do() {
    holds(Aimd::default()).await;
}

#[tokio::test(start_paused = true)]
async fn vegas_finds_what_the_service_can_do() {
    holds(Vegas::default()).await;
}

#[tokio::test(start_paused = true)]
async fn gradient_finds_what_the_service_can_do() {
    holds(Gradient::default()).await;
}

#[tokio::test(start_paused = true)]
async fn gradient2_finds_what_the_service_can_do() {
    holds(Gradient2::default()).await;
}

#[tokio::test(start_paused = true)]
async fn trend_finds_what_the_service_can_do() {
    holds(Trend::default()).await;
}
