//! Callers that are held without being polled. Any number of them delays the others by at most 10 ms.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    thread,
    time::Duration,
};

use buttress_dedup::DedupLayer;
use futures_util::{
    StreamExt, future,
    stream::{self, FuturesUnordered},
};
use tokio::{
    runtime,
    sync::oneshot,
    time::{Instant, advance, sleep},
};
use tokio_test::task::Spawn;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::support::{Call, Failure, in_one_task, ms, outcome, settle, taking, waiting};

/// Polls each future once. The task then does something else.
async fn poll_all<F: Future>(futures: &mut FuturesUnordered<F>) {
    future::poll_fn(|cx| {
        assert!(futures.poll_next_unpin(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn driver_and_deputy_in_a_busy_task_delay_other_callers_by_ten_ms() {
    let upstream = taking(ms(100));
    let service = DedupLayer::new().layer(upstream.clone());
    let start = Instant::now();
    let inside = service.clone();
    let busy = tokio::spawn(async move {
        let mut children = FuturesUnordered::new();
        // The first is the driver and the last is its deputy, so these two are woken.
        for _ in 0..2 {
            children.push(inside.clone().oneshot(1));
            poll_all(&mut children).await;
            sleep(ms(10)).await;
        }
        sleep(Duration::from_secs(60)).await;
        children.collect::<Vec<_>>().await
    });
    sleep(ms(5)).await;
    assert_eq!(tokio::spawn(service.oneshot(1)).await.unwrap(), Ok(1));
    assert_eq!(start.elapsed(), ms(110));
    assert_eq!(busy.await.unwrap(), [Ok(1), Ok(1)]);
    assert_eq!(start.elapsed(), ms(60_020));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn unpolled_futures_of_a_stream_or_selection_delay_other_callers_by_ten_ms() {
    let upstream = taking(ms(100));
    let service = DedupLayer::new().layer(upstream.clone());
    let (one, two) = (service.clone(), service.clone());
    let buffered = tokio::spawn(async move {
        // The first call has another key. Its response keeps the task busy.
        let answers = stream::iter([0, 1, 1, 1]).map(|key| one.clone().oneshot(key));
        let busy = async |answer: Result<usize, Failure>| {
            sleep(Duration::from_secs(60)).await;
            drop(answer);
        };
        answers.buffer_unordered(4).for_each(busy).await;
    });
    sleep(ms(50)).await;
    let selected = tokio::spawn(async move {
        let all = (0..3).map(|_| Box::pin(two.clone().oneshot(1)));
        let mut first = future::select_all(all);
        assert!(future::poll_immediate(&mut first).await.is_none());
        sleep(Duration::from_secs(60)).await;
        first.await.0
    });
    tokio::task::yield_now().await;
    let start = Instant::now();
    assert_eq!(service.oneshot(1).await, Ok(2));
    assert!(start.elapsed() <= ms(60), "{:?}", start.elapsed());
    assert_eq!(selected.await.unwrap(), Ok(2));
    buffered.await.unwrap();
}

/// Makes one polled call between `before` and `after` unpolled ones, and returns its duration.
async fn a_thousand_unpolled(before: usize, after: usize) -> Duration {
    let steps = 20;
    let service = DedupLayer::new().layer(service_fn(move |n: u32| async move {
        for _ in 0..steps {
            sleep(ms(20)).await;
        }
        Ok::<_, Failure>(n)
    }));
    let start = Instant::now();
    let mut unpolled: Vec<_> = (0..before).map(|_| Some(waiting(&service, 1))).collect();
    let polls = Arc::<AtomicUsize>::default();
    let mut live = tokio::spawn({
        let (mut call, polls) = (service.clone().oneshot(1), Arc::clone(&polls));
        future::poll_fn(move |cx| {
            polls.fetch_add(1, SeqCst);
            Pin::new(&mut call).poll(cx)
        })
    });
    tokio::task::yield_now().await;
    unpolled.extend((0..after).map(|_| Some(waiting(&service, 1))));
    assert_eq!((&mut live).await.unwrap(), Ok(1));
    let took = start.elapsed();
    // One poll per step, one at the start, and at most two that were not needed.
    assert!(polls.load(SeqCst) <= steps + 3, "{polls:?}");
    let (polls, answers) = settle(&mut unpolled);
    assert_eq!(polls, before + after);
    assert_eq!(answers.len(), before + after, "each gets the response at its next poll");
    assert!(answers.iter().all(|answer| *answer == Ok(1)));
    took
}

#[tokio::test(start_paused = true)]
async fn thousand_unpolled_callers_delay_a_polled_one_once() {
    let (steps, grace) = (ms(400), ms(10));
    for (before, after) in [(1_000, 0), (0, 1_000), (500, 500), (2, 0), (1, 1), (0, 2), (999, 1)] {
        let took = in_one_task(a_thousand_unpolled(before, after)).await;
        assert!(took <= steps + grace, "{before} before, {after} after: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn callers_polled_again_later_get_the_response_and_delay_no_other() {
    let service = DedupLayer::new().layer(service_fn(|n: u32| async move {
        for _ in 0..10 {
            sleep(ms(20)).await;
        }
        Ok::<_, Failure>(n)
    }));
    let start = Instant::now();
    let mut held: Vec<Call<u32>> = (0..5).map(|_| waiting(&service, 1)).collect();
    let live = tokio::spawn(service.clone().oneshot(1));
    tokio::task::yield_now().await;
    sleep(ms(50)).await;
    for held in &mut held {
        assert!(held.poll().is_pending());
    }
    assert_eq!(live.await.unwrap(), Ok(1));
    assert!(start.elapsed() <= ms(220), "{:?}", start.elapsed());
    for held in held {
        assert!(held.is_woken());
        assert_eq!(outcome(held), Ok(1));
    }
}

#[tokio::test(start_paused = true)]
async fn polled_callers_are_polled_at_most_twice_per_step() {
    let steps = 100;
    let service = DedupLayer::new().layer(service_fn(move |n: u32| async move {
        for _ in 0..steps {
            sleep(ms(7)).await;
        }
        Ok::<_, Failure>(n)
    }));
    let polls = Arc::<AtomicUsize>::default();
    let calls: Vec<_> = (0..1_000)
        .map(|_| {
            let (mut call, polls) = (service.clone().oneshot(1), Arc::clone(&polls));
            tokio::spawn(future::poll_fn(move |cx| {
                polls.fetch_add(1, SeqCst);
                Pin::new(&mut call).poll(cx)
            }))
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(1));
    }
    let polls = polls.load(SeqCst);
    assert!(polls <= 2 * 1_000 + 2 * steps, "{polls}: a driver and a deputy at each step");
}

#[tokio::test(start_paused = true)]
async fn callers_that_leave_when_woken_delay_the_next_by_at_most_ten_ms() {
    let upstream = taking(ms(100));
    let service = DedupLayer::new().layer(upstream.clone());
    let mut held: Vec<_> = (0..6).map(|_| Some(waiting(&service, 1))).collect();
    let live = tokio::spawn(service.clone().oneshot(1));
    tokio::task::yield_now().await;
    held.extend((0..6).map(|_| Some(waiting(&service, 1))));
    advance(ms(100)).await;
    let woken = |call: &&mut Option<Call<usize>>| call.as_ref().is_some_and(Spawn::is_woken);
    let woken: Vec<_> = held.iter_mut().filter(woken).collect();
    assert_eq!(woken.len(), 2);
    // Each of them wakes two others, which are not polled either.
    for call in woken {
        *call = None;
    }
    let start = Instant::now();
    assert_eq!(live.await.unwrap(), Ok(1));
    assert!(start.elapsed() <= ms(10), "{:?}", start.elapsed());
    drop(held);
}

/// A service that responds on command.
fn told() -> (BoxCloneSyncService<u32, u32, Failure>, oneshot::Sender<()>) {
    let (done, said) = oneshot::channel::<()>();
    let said = future::FutureExt::shared(said);
    let service = DedupLayer::new().layer(service_fn(move |n: u32| {
        let said = said.clone();
        async move {
            said.await.unwrap();
            Ok(n)
        }
    }));
    (BoxCloneSyncService::new(service), done)
}

#[test]
fn wake_from_another_thread_reaches_the_running_runtime() {
    let (service, done) = told();
    let runtime = || runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // A runtime that does not run, so its calls are not polled.
    let still = runtime();
    let entered = still.enter();
    let held: Vec<_> = (0..3).map(|_| waiting(&service, 1)).collect();
    drop(entered);
    let (waits, waiting_now) = std::sync::mpsc::channel();
    let live = thread::spawn({
        let service = service.clone();
        move || {
            runtime().block_on(async {
                let mut call = pin!(service.oneshot(1));
                assert!(future::poll_immediate(&mut call).await.is_none());
                waits.send(()).unwrap();
                call.await
            })
        }
    });
    waiting_now.recv().unwrap();
    let entered = still.enter();
    let after: Vec<_> = (0..3).map(|_| waiting(&service, 1)).collect();
    drop(entered);
    // On a thread without a runtime.
    thread::spawn(move || done.send(()).unwrap()).join().unwrap();
    assert_eq!(live.join().unwrap(), Ok(1), "the call was woken");
    for call in held.into_iter().chain(after) {
        assert_eq!(outcome(call), Ok(1));
    }
}

#[test]
fn wake_reaches_the_second_runtime_of_a_thread() {
    let (service, done) = told();
    let runtime = || runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let [still, other] = [runtime(), runtime()];
    let two = || {
        let _entered = still.enter();
        [(); 2].map(|()| waiting(&service, 1))
    };
    let held = two();
    let after = other.block_on(async {
        let mut live = pin!(service.clone().oneshot(1));
        assert!(future::poll_immediate(&mut live).await.is_none());
        let after = two();
        thread::spawn(move || done.send(()).unwrap()).join().unwrap();
        assert_eq!(live.await, Ok(1), "the call was woken");
        after
    });
    for call in held.into_iter().chain(after) {
        assert_eq!(outcome(call), Ok(1));
    }
}

/// The layer needs no runtime for callers that are polled.
#[test]
fn callers_are_served_without_a_runtime_or_timers() {
    let no_timers = runtime::Builder::new_current_thread().build().unwrap();
    let entered = [None, Some(no_timers.enter())];
    for entered in entered {
        let (service, done) = told();
        let mut calls: Vec<_> = (0..6).map(|_| Some(waiting(&service, 1))).collect();
        done.send(()).unwrap();
        assert_eq!(settle(&mut calls).1, vec![Ok(1); 6]);
        drop(entered);
    }
}
