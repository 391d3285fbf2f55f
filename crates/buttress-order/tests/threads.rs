//! Calls of few keys from several threads, some of which are dropped at any point.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
};

use buttress_core::{Reason, Rejection};
use buttress_order::OrderLayer;
use buttress_testkit::TestError;
use tokio::task::{JoinSet, yield_now};
use tower::{Layer, service_fn, util::BoxCloneSyncService};
use tower_service::Service;

const KEYS: usize = 3;
const TASKS: u32 = 8;
const CALLS: u32 = 200;

type Keyed = BoxCloneSyncService<(usize, u32), u32, TestError>;

/// How many calls of each key run.
type Inside = Arc<[AtomicUsize; KEYS]>;

/// Counts a call while it runs.
struct Visit(Inside, usize);

impl Visit {
    fn new(inside: &Inside, key: usize, alone: bool) -> Self {
        let others = inside.get(key).unwrap().fetch_add(1, SeqCst);
        assert!(!alone || others == 0, "two calls of a key at once");
        Self(Arc::clone(inside), key)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.get(self.1).unwrap().fetch_sub(1, SeqCst);
    }
}

fn over<L>(layer: &L, inside: &Inside, alone: bool) -> Keyed
where
    L: Layer<Keyed>,
    L::Service: Service<(usize, u32), Response = u32, Error = TestError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let inside = Arc::clone(inside);
    let serve = service_fn(move |(key, number): (usize, u32)| {
        let visit = Visit::new(&inside, key, alone);
        async move {
            for _ in 0..number % 3 {
                yield_now().await;
            }
            drop(visit);
            Ok(number)
        }
    });
    BoxCloneSyncService::new(layer.layer(BoxCloneSyncService::new(serve)))
}

/// Makes calls, of which each fifth is dropped after a poll or two. Returns how many were served.
async fn make_calls(mut service: Keyed, task: u32, superseded: Arc<AtomicU32>) -> u32 {
    let mut served = 0;
    for number in 0..CALLS {
        let key = usize::try_from((task + number) % 3).unwrap();
        let mut call = Box::pin(service.call((key, number)));
        if number % 5 == 0 {
            let mut polls = number % 2;
            poll_fn(|cx| {
                if call.as_mut().poll(cx).is_ready() || polls == 0 {
                    return Poll::Ready(());
                }
                polls -= 1;
                Poll::Pending
            })
            .await;
            continue;
        }
        match call.await {
            Ok(answer) => {
                assert_eq!(answer, number);
                served += 1;
            }
            Err(error) => {
                assert_eq!(error, TestError::Rejected(Reason::Superseded));
                superseded.fetch_add(1, SeqCst);
            }
        }
    }
    served
}

/// Runs all tasks to their end. Returns the numbers of calls that were served and superseded.
async fn crowd(service: &Keyed) -> (u32, u32) {
    let superseded = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(make_calls(service.clone(), task, Arc::clone(&superseded)));
    }
    let mut served = 0;
    while let Some(count) = tasks.join_next().await {
        served += count.unwrap();
    }
    (served, superseded.load(SeqCst))
}

const AWAITED: u32 = TASKS * CALLS / 5 * 4;

#[expect(clippy::unnecessary_wraps, reason = "the shape of a key")]
fn key_of(request: &(usize, u32)) -> Option<usize> {
    Some(request.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn serial_calls_of_many_threads_are_all_served_one_at_a_time() {
    let (layer, inside) = (OrderLayer::serial(key_of), Inside::default());
    let service = over(&layer, &inside, true);
    assert_eq!(crowd(&service).await, (AWAITED, 0));
    assert_eq!((layer.handle().keys(), layer.handle().full()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn latest_wins_calls_of_many_threads_all_end_and_run_one_at_a_time() {
    let (layer, inside) = (OrderLayer::latest(key_of), Inside::default());
    let service = over(&layer, &inside, true);
    let (served, superseded) = crowd(&service).await;
    assert_eq!(served + superseded, AWAITED);
    assert_eq!((layer.handle().keys(), layer.handle().queued()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_calls_of_many_threads_all_end() {
    let (layer, inside) = (OrderLayer::latest(key_of).overlapping(), Inside::default());
    let service = over(&layer, &inside, false);
    let (served, superseded) = crowd(&service).await;
    assert_eq!(served + superseded, AWAITED);
    assert_eq!(layer.handle().keys(), 0);
}

/// A rejection is of this layer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_queue_rejects_and_the_others_are_served_on_many_threads() {
    let (layer, inside) = (OrderLayer::serial(key_of).queue(1), Inside::default());
    let mut service = over(&layer, &inside, true);
    let mut calls = JoinSet::new();
    for number in 0..100 {
        calls.spawn(service.call((0, number)));
    }
    let (mut served, mut full) = (0, 0);
    for outcome in calls.join_all().await {
        match outcome {
            Ok(_) => served += 1,
            Err(error) => {
                let overloaded =
                    Rejection::new(Reason::Overloaded, buttress_core::Origin::new("order"));
                assert_eq!(error, TestError::from(overloaded));
                full += 1;
            }
        }
    }
    assert_eq!(served + full, 100);
    assert_eq!((layer.handle().full(), layer.handle().keys()), (full, 0));
}
