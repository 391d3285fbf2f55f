//! Adaptive limits before a service of fixed capacity whose callers have no deadline and leave when they have
//! waited for twice as long as a call takes without load, on paused time.
//!
//! The service takes the latest call first, as pools of connections and of threads do. So each call that is
//! answered looks as if there were no load, and only those whose callers left tell that there is.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress_control::{Adapt, Aimd, Gradient, Gradient2, Trend, Vegas};
use buttress_core::BoxError;
use buttress_throttle::ThrottleLayer;
use fastrand::Rng;
use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::{Layer, ServiceExt, service_fn};

const SERVERS: u32 = 20;
/// A call without load takes so long, a third more or less.
const SERVICE: f64 = 1.0;
const PATIENCE: Duration = Duration::from_secs(2);

/// Servers, and the calls that wait for one.
struct Stack {
    free: usize,
    waiting: Vec<oneshot::Sender<Busy>>,
}

/// A server at work, free again when dropped.
struct Busy(Arc<Mutex<Stack>>);

impl Busy {
    async fn of(stack: &Arc<Mutex<Stack>>) -> Self {
        let turn = {
            let mut stack = stack.lock().unwrap();
            if stack.free > 0 {
                stack.free -= 1;
                None
            } else {
                let (sender, turn) = oneshot::channel();
                stack.waiting.push(sender);
                Some(turn)
            }
        };
        match turn {
            Some(turn) => turn.await.unwrap(),
            None => Self(Arc::clone(stack)),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut stack = self.0.lock().unwrap();
        stack.waiting.retain(|waiting| !waiting.is_closed());
        let next = stack.waiting.pop();
        if next.is_none() {
            stack.free += 1;
        }
        drop(stack);
        // A waiter that leaves at the last moment drops the server, which is then for the next.
        if let Some(next) = next {
            let _ = next.send(Self(Arc::clone(&self.0)));
        }
    }
}

/// The median limit, and the share of the capacity that was used, over the second half of 24,000 calls at eight
/// times the capacity.
async fn under_impatient_callers(law: impl Adapt) -> (u32, f64) {
    let layer = ThrottleLayer::adaptive(law);
    let servers = Arc::new(Mutex::new(Stack { free: SERVERS as usize, waiting: Vec::new() }));
    let answered = Arc::new(AtomicU32::new(0));
    let mut random = Rng::with_seed(7);
    let (mut calls, mut limits, mut took) = (JoinSet::new(), Vec::new(), Duration::ZERO);
    for n in 0..24_000 {
        let gap = SERVICE / (8.0 * f64::from(SERVERS));
        let gap = Duration::from_secs_f64(-gap * (1.0 - random.f64()).ln());
        let work = Duration::from_secs_f64(SERVICE * (2.0 + 2.0 * random.f64()) / 3.0);
        sleep(gap).await;
        let servers = Arc::clone(&servers);
        let service = layer.layer(service_fn(move |work| {
            let servers = Arc::clone(&servers);
            async move {
                let _server = Busy::of(&servers).await;
                sleep(work).await;
                Ok::<_, BoxError>(())
            }
        }));
        let (service, answers) = (service.boxed_clone(), Arc::clone(&answered));
        calls.spawn(async move {
            if let Ok(Ok(())) = timeout(PATIENCE, service.oneshot(work)).await {
                answers.fetch_add(1, Ordering::Relaxed);
            }
        });
        while calls.try_join_next().is_some() {}
        if n == 12_000 {
            answered.store(0, Ordering::Relaxed);
        }
        if n >= 12_000 {
            limits.push(layer.handle().limit());
            took += gap;
        }
    }
    limits.sort_unstable();
    let answered = f64::from(answered.load(Ordering::Relaxed));
    (
        *limits.get(limits.len() / 2).unwrap(),
        answered * SERVICE / (took.as_secs_f64() * f64::from(SERVERS)),
    )
}

async fn stays_near_the_capacity(law: impl Adapt) {
    let (limit, used) = under_impatient_callers(law).await;
    assert!((SERVERS..=7 * SERVERS / 2).contains(&limit), "the median limit is {limit}");
    assert!(used > 0.9, "{used} of the capacity is used");
}

#[tokio::test(start_paused = true)]
async fn aimd_stays_near_the_capacity_when_callers_leave() {
    stays_near_the_capacity(Aimd::default().round(20).initial(150)).await;
}

#[tokio::test(start_paused = true)]
async fn vegas_stays_near_the_capacity_when_callers_leave() {
    stays_near_the_capacity(Vegas::default().round(20).initial(150)).await;
}

#[tokio::test(start_paused = true)]
async fn gradient_stays_near_the_capacity_when_callers_leave() {
    stays_near_the_capacity(Gradient::default().round(20).initial(150)).await;
}

#[tokio::test(start_paused = true)]
async fn gradient2_stays_near_the_capacity_when_callers_leave() {
    stays_near_the_capacity(Gradient2::default().round(20).initial(150)).await;
}

#[tokio::test(start_paused = true)]
async fn trend_stays_near_the_capacity_when_callers_leave() {
    stays_near_the_capacity(Trend::default().round(20).initial(150)).await;
}

/// The share of the capacity of five servers that was used, over the second half of 6,000 calls at three times the
/// capacity. The calls queue for a server, so a queue that is too long serves only callers that have left.
async fn used_in_line(law: impl Adapt, patience: Duration) -> f64 {
    let layer = ThrottleLayer::adaptive(law);
    let (servers, answered) = (Arc::new(Semaphore::new(5)), Arc::new(AtomicU32::new(0)));
    let (mut random, mut calls) = (Rng::with_seed(7), JoinSet::new());
    let mut half = Instant::now();
    for n in 0..6_000 {
        sleep(Duration::from_secs_f64(-SERVICE / 15.0 * (1.0 - random.f64()).ln())).await;
        let servers = Arc::clone(&servers);
        let service = layer.layer(service_fn(move |()| {
            let servers = Arc::clone(&servers);
            async move {
                let _server = servers.acquire().await;
                sleep(Duration::from_secs_f64(SERVICE)).await;
                Ok::<_, BoxError>(())
            }
        }));
        let (service, answers) = (service.boxed_clone(), Arc::clone(&answered));
        calls.spawn(async move {
            if let Ok(Ok(())) = timeout(patience, service.oneshot(())).await {
                answers.fetch_add(1, Ordering::Relaxed);
            }
        });
        while calls.try_join_next().is_some() {}
        if n == 3_000 {
            answered.store(0, Ordering::Relaxed);
            half = Instant::now();
        }
    }
    f64::from(answered.load(Ordering::Relaxed)) * SERVICE / (half.elapsed().as_secs_f64() * 5.0)
}

#[tokio::test(start_paused = true)]
async fn limit_falls_when_every_caller_leaves_before_its_permit() {
    // Twenty calls wait four times as long as one takes, so no caller is ever answered.
    let used = used_in_line(Aimd::default(), PATIENCE).await;
    assert!(used > 0.5, "{used} of the capacity is used");
}

#[tokio::test(start_paused = true)]
async fn limit_does_not_climb_when_all_callers_leave_after_the_same_time() {
    // The first answers take nearly as long as the patience, and longer is nothing that a call can take.
    let used = used_in_line(Gradient::default(), Duration::from_secs(5)).await;
    assert!(used > 0.5, "{used} of the capacity is used");
}

#[tokio::test(start_paused = true)]
async fn callers_leaving_before_any_answer_do_not_lower_the_limit() {
    let layer = ThrottleLayer::adaptive(Aimd::default());
    let service = layer.layer(service_fn(async |()| {
        sleep(Duration::from_millis(100)).await;
        Ok::<_, BoxError>(())
    }));
    // As when a search is sent with each letter that is typed: four of five are given up.
    for _ in 0..200 {
        let mut calls = JoinSet::new();
        for n in 0..15 {
            let patience = Duration::from_millis(if n % 5 == 0 { 200 } else { 50 });
            calls.spawn(timeout(patience, service.clone().oneshot(())));
        }
        while calls.join_next().await.is_some() {}
    }
    assert!(layer.handle().limit() >= 20, "{}", layer.handle().limit());
}
