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

/// Calls that wait in a queue for the only permit.
pub struct WaitingCalls {
    provider: String,
    measure: Box<MeasureBytes>,
}

impl WaitingCalls {
    /// `open` makes a queue and returns a function that makes calls.
    pub fn new<C, F>(provider: impl Into<String>, open: impl Fn() -> C + 'static) -> Self
    where
        C: Fn() -> F,
        F: Future,
    {
        let measure = move |allocator: &StatsAlloc<System>| WaitingBytes::of(allocator, &open());
        Self { provider: provider.into(), measure: Box::new(measure) }
    }
}

impl fmt::Debug for WaitingCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WaitingCalls({})", self.provider)
    }
}

/// The queues of buttress, tower and tokio, each without and with a deadline.
///
/// tower's `Timeout` starts with the call and does not cover the wait, so the rows with a deadline use tokio's
/// `timeout`.
pub fn waiting_calls() -> Vec<WaitingCalls> {
    vec![
        WaitingCalls::new("buttress", || {
            let service =
                ThrottleLayer::concurrency(1).queue(QUEUE_LENGTH).layer(Echo(Inner::Pend));
            move || service.clone().oneshot(7)
        }),
        WaitingCalls::new("buttress, `DeadlineLayer` around", || {
            let limit = ThrottleLayer::concurrency(1).queue(QUEUE_LENGTH).layer(Echo(Inner::Pend));
            let service = DeadlineLayer::new(TIMEOUT).layer(limit);
            move || service.clone().oneshot(7)
        }),
        WaitingCalls::new("tower", || {
            let service = ConcurrencyLimitLayer::new(1).layer(Echo(Inner::Pend));
            move || service.clone().oneshot(7)
        }),
        WaitingCalls::new("tower, tokio's `timeout` around", || {
            let service = ConcurrencyLimitLayer::new(1).layer(Echo(Inner::Pend));
            move || timeout(TIMEOUT, service.clone().oneshot(7))
        }),
        WaitingCalls::new(SEMAPHORE, || {
            let permits = Arc::new(Semaphore::new(1));
            move || call_with_permit(Arc::clone(&permits))
        }),
        WaitingCalls::new(format!("{SEMAPHORE}, tokio's `timeout` around"), || {
            let permits = Arc::new(Semaphore::new(1));
            move || timeout(TIMEOUT, call_with_permit(Arc::clone(&permits)))
        }),
    ]
}

/// Prints the bytes per waiting call of all `queues` as a Markdown table.
pub fn print_waiting(queues: &[WaitingCalls], allocator: &StatsAlloc<System>) {
    let runtime = enter_runtime();
    let _entered = runtime.enter();
    println!("| queue | bytes per call | of which future |");
    println!("|---|--:|--:|");
    for WaitingCalls { provider, measure } in queues {
        let WaitingBytes { all, future } = measure(allocator);
        println!("| {provider} | {all} | {future} |");
    }
    println!();
    println!(
        "Bytes on the heap with {CALLS} waiting calls, each in a box. The bytes include unused"
    );
    println!("capacity: a queue that grows by doubling has room for up to twice as many calls.");
}

async fn call_with_permit(permits: Arc<Semaphore>) -> u64 {
    let Ok(_permit) = permits.acquire_owned().await else { return 0 };
    Echo(Inner::Pend).call(7).await.unwrap_or_default()
}

/// Opens a queue and measures the calls that wait there.
type MeasureBytes = dyn Fn(&StatsAlloc<System>) -> WaitingBytes;

/// The bytes of a call that waits.
#[derive(Clone, Copy, Debug)]
struct WaitingBytes {
    all: usize,
    future: usize,
}

impl WaitingBytes {
    fn of<F: Future>(allocator: &StatsAlloc<System>, call: &impl Fn() -> F) -> Self {
        let mut cx = Context::from_waker(Waker::noop());
        let mut start_call = || {
            let mut future = Box::pin(call());
            assert!(
                future.as_mut().poll(&mut cx).is_pending(),
                "there is one permit, and it is held"
            );
            future
        };
        // The first call gets the permit. Nothing polls that call again, so it keeps the permit.
        let _holder = start_call();
        let mut calls: Vec<Pin<Box<F>>> = Vec::with_capacity(CALLS);
        let region = Region::new(allocator);
        calls.extend((0..CALLS).map(|_| start_call()));
        let change = region.change();
        let all = (change.bytes_allocated - change.bytes_deallocated) / CALLS;
        Self { all, future: size_of::<F>() }
    }
}

const CALLS: usize = 100_000;
const QUEUE_LENGTH: usize = 200_000;
