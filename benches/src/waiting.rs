use std::{
    alloc::System,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
};

use buttress::{deadline::DeadlineLayer, throttle::ThrottleLayer};
use stats_alloc::{Region, StatsAlloc};
use tokio::{sync::Semaphore, time::timeout};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimitLayer};

use crate::{
    Echo, Inner,
    cases::settings::{SEMAPHORE, TIMEOUT},
    enter_runtime,
};

/// Calls that wait for the only permit, in a queue of someone's making.
pub struct Line {
    by: String,
    wait: Box<Waiting>,
}

impl Line {
    /// `open` makes the queue and returns what makes calls to it.
    pub fn new<C, F>(by: impl Into<String>, open: impl Fn() -> C + 'static) -> Self
    where
        C: Fn() -> F,
        F: Future,
    {
        let wait = move |allocator: &StatsAlloc<System>| Bytes::of(allocator, &open());
        Self { by: by.into(), wait: Box::new(wait) }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({})", self.by)
    }
}

/// Our queue, tower's and tokio's, without a deadline and with one.
///
/// Tower's time limit starts with the call, so around the wait goes tokio's.
pub fn lines() -> Vec<Line> {
    vec![
        Line::new("buttress", || {
            let service = ThrottleLayer::concurrency(1).queue(BOUND).layer(Echo(Inner::Pend));
            move || service.clone().oneshot(7)
        }),
        Line::new("buttress, `DeadlineLayer` around", || {
            let limit = ThrottleLayer::concurrency(1).queue(BOUND).layer(Echo(Inner::Pend));
            let service = DeadlineLayer::new(TIMEOUT).layer(limit);
            move || service.clone().oneshot(7)
        }),
        Line::new("tower", || {
            let service = ConcurrencyLimitLayer::new(1).layer(Echo(Inner::Pend));
            move || service.clone().oneshot(7)
        }),
        Line::new("tower, tokio's `timeout` around", || {
            let service = ConcurrencyLimitLayer::new(1).layer(Echo(Inner::Pend));
            move || timeout(TIMEOUT, service.clone().oneshot(7))
        }),
        Line::new(SEMAPHORE, || {
            let permits = Arc::new(Semaphore::new(1));
            move || wait_by_hand(Arc::clone(&permits))
        }),
        Line::new(format!("{SEMAPHORE}, tokio's `timeout` around"), || {
            let permits = Arc::new(Semaphore::new(1));
            move || timeout(TIMEOUT, wait_by_hand(Arc::clone(&permits)))
        }),
    ]
}

/// Measures all lines and prints them as one Markdown table.
pub fn print_waiting(lines: &[Line], allocator: &StatsAlloc<System>) {
    let runtime = enter_runtime();
    let _entered = runtime.enter();
    println!("| queue | bytes per call | of these its future |");
    println!("|---|--:|--:|");
    for Line { by, wait } in lines {
        let Bytes { all, future } = wait(allocator);
        println!("| {by} | {all} | {future} |");
    }
    println!();
    println!(
        "On the heap, with {CALLS} calls waiting, each in a box. A queue that grows by doubling"
    );
    println!("has room for up to twice as many, and that counts too.");
}

async fn wait_by_hand(permits: Arc<Semaphore>) -> u64 {
    let Ok(_permit) = permits.acquire_owned().await else { return 0 };
    Echo(Inner::Pend).call(7).await.unwrap_or_default()
}

/// Lets calls wait.
type Waiting = dyn Fn(&StatsAlloc<System>) -> Bytes;

/// What a call takes while it waits.
#[derive(Clone, Copy, Debug)]
struct Bytes {
    all: usize,
    future: usize,
}

impl Bytes {
    fn of<F: Future>(allocator: &StatsAlloc<System>, call: &impl Fn() -> F) -> Self {
        let mut cx = Context::from_waker(Waker::noop());
        let mut enter = || {
            let mut future = Box::pin(call());
            assert!(
                future.as_mut().poll(&mut cx).is_pending(),
                "there is one permit, and it is held"
            );
            future
        };
        // The first call gets the permit, and is not polled again.
        let _holder = enter();
        let mut calls: Vec<Pin<Box<F>>> = Vec::with_capacity(CALLS);
        let region = Region::new(allocator);
        calls.extend((0..CALLS).map(|_| enter()));
        let change = region.change();
        let all = (change.bytes_allocated - change.bytes_deallocated) / CALLS;
        Self { all, future: size_of::<F>() }
    }
}

const CALLS: usize = 100_000;
const BOUND: usize = 200_000;
