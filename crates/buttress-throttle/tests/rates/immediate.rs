//! Promises of cells in this process that the rate of a fleet does not make. Each test says why.

use std::{
    task::{Context, Waker},
    time::Duration,
};

use Criticality::{CriticalPlus, Sheddable};
use buttress_core::{BoxError, Criticality, Deadline, Reason};
use buttress_throttle::{Queue, Rate, Rates, ThrottleLayer};
use tokio::{
    runtime::Builder,
    time::{Instant, advance},
};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, ServiceExt, service_fn};

use super::support::{echo, ms, rejection};
use super::{of_rate, of_rates};

/// In a fleet the store decides first. Then the call waits, and its deadline ends the wait.
#[tokio::test(start_paused = true)]
async fn call_whose_wait_is_too_long_is_refused_at_once_and_takes_no_cell() {
    let queue = Queue::new(9).max_wait(ms(150));
    let layer = of_rate(Rate::per_second(10).burst(1)).queue(queue);
    let service = echo(&layer);
    service.clone().oneshot(0).await.unwrap();
    let mut hopeless = task::spawn(Deadline::after(ms(99)).around(service.clone().oneshot(1)));
    let rejection = rejection::<u32>(Err(assert_ready_err!(hopeless.poll())));
    assert_eq!(rejection.reason(), Reason::RateLimited);
    assert_eq!(rejection.retry_after(), Some(ms(100)));
    assert_eq!(layer.handle().queued(), 0);
    let mut hopeful = task::spawn(Deadline::after(ms(100)).around(service.clone().oneshot(1)));
    assert_pending!(hopeful.poll());
    assert_eq!(layer.handle().queued(), 1);
    let mut late = task::spawn(service.oneshot(1));
    assert_ready_err!(late.poll());
    assert_eq!(hopeful.await.unwrap(), 1);
}

/// The store hears of a rate with the next request, so cells that came until then stay.
#[tokio::test(start_paused = true)]
async fn lowered_rate_sets_the_pace_of_waiters() {
    let layer = of_rate(Rate::per_second(1000).burst(1)).queue(10);
    let service = echo(&layer);
    service.clone().oneshot(0).await.unwrap();
    let start = Instant::now();
    let calls: Vec<_> = (0..3).map(|n| tokio::task::spawn(service.clone().oneshot(n))).collect();
    tokio::task::yield_now().await;
    layer.handle().set_rate(Rate::per_second(10).burst(1));
    for (call, at) in calls.into_iter().zip([100, 200, 300]) {
        call.await.unwrap().unwrap();
        assert_eq!(start.elapsed(), ms(at));
    }
}

/// In a fleet an unused cell ends with its lease.
#[tokio::test(start_paused = true)]
async fn granted_cell_of_the_last_waiter_comes_back_when_dropped() {
    let layer = of_rates(Rates::new(Rate::per_second(1)).and(Rate::per_minute(2)));
    let layer = layer.queue(9);
    let service = echo(&layer);
    service.clone().oneshot(0).await.unwrap();
    let mut call = task::spawn(service.clone().oneshot(1));
    assert_pending!(call.poll());
    advance(ms(1000)).await;
    assert!(call.is_woken());
    assert_eq!(layer.handle().tokens(), 0);
    advance(ms(500)).await;
    drop(call);
    assert_eq!(layer.handle().tokens(), 1);
    service.oneshot(2).await.unwrap();
    assert_eq!(layer.handle().admitted(), 2);
}

/// A replica asks the store once in a pace, and gets at most the burst.
///
/// Timers fire up to a millisecond late, and a burst of one keeps no cell that comes meanwhile.
#[tokio::test(start_paused = true)]
async fn queue_keeps_up_with_a_rate_faster_than_its_timers() {
    let layer = of_rate(Rate::per_second(10_000).burst(1)).queue(1000);
    let service = echo(&layer);
    let start = Instant::now();
    let calls = (0..1000).map(|n| tokio::task::spawn(service.clone().oneshot(n)));
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    assert_eq!(start.elapsed(), ms(100));
}

/// The request of a fleet runs in one runtime. If that stands still, the request is given up.
///
/// In real time: each runtime that pauses time has a clock of its own.
#[test]
fn waiter_does_not_depend_on_the_runtime_of_another() {
    let layer = of_rate(Rate::per_second(50).burst(1)).queue(9);
    let service = layer.layer(service_fn(async |n: u32| Ok::<_, BoxError>(n)));
    let runtime = || Builder::new_current_thread().enable_time().build().unwrap();
    let (ended, standing, own) = (runtime(), runtime(), runtime());
    let mut calls: Vec<_> = (0..3).map(|n| Box::pin(service.clone().oneshot(n))).collect();
    let mut cx = Context::from_waker(Waker::noop());
    own.block_on(async { assert!(calls[0].as_mut().poll(&mut cx).is_ready()) });
    ended.block_on(async { assert!(calls[1].as_mut().poll(&mut cx).is_pending()) });
    standing.block_on(async { assert!(calls[2].as_mut().poll(&mut cx).is_pending()) });
    drop(ended);
    assert_eq!(own.block_on(service.clone().oneshot(3)).unwrap(), 3);
    // Nobody who waits and no runtime is left here.
    drop(calls);
    assert_eq!(layer.handle().queued(), 0);
}

/// The request of a fleet runs in one runtime. If that stands still, the request is given up.
///
/// In real time: each runtime that pauses time has a clock of its own.
#[test]
fn waiters_do_not_wake_each_other_for_a_stalled_runtime() {
    let layer = of_rate(Rate::per_hour(1)).queue(9);
    let service = layer.layer(service_fn(async |n: u32| Ok::<_, BoxError>(n)));
    let runtime = || Builder::new_current_thread().enable_time().build().unwrap();
    let (standing, own) = (runtime(), runtime());
    let mut calls: Vec<_> = (0..4).map(|n| task::spawn(service.clone().oneshot(n))).collect();
    own.block_on(async { assert_ready_ok!(calls[0].poll()) });
    standing.block_on(async { assert_pending!(calls[1].poll()) });
    let mut ours = calls.split_off(2);
    own.block_on(async {
        for call in &mut ours {
            assert_pending!(call.poll());
        }
    });
    // From now on the first waiter is due before the time for which the other runtime set its timer.
    layer.handle().set_rate(Rate::per_minute(1));
    let mut polls = 0;
    while polls < 100 && ours.iter().any(task::Spawn::is_woken) {
        own.block_on(async {
            for call in ours.iter_mut().filter(|call| call.is_woken()) {
                assert_pending!(call.poll());
            }
        });
        polls += 1;
    }
    assert!(polls <= 3, "{polls} rounds of polls");
}

/// In a fleet a call needs a place until the store has decided.
#[tokio::test(start_paused = true)]
async fn call_that_goes_first_and_finds_its_cells_displaces_no_waiter() {
    let rate = Rate::per_second(10).burst(3);
    let layer = of_rate(rate).queue(1).cost(|cells: &u32| *cells);
    let service = echo(&layer);
    service.clone().oneshot(1).await.unwrap();
    let heavy = Sheddable.around(service.clone().oneshot(3));
    let heavy = tokio::task::spawn(heavy);
    tokio::task::yield_now().await;
    assert_eq!(layer.handle().queued(), 1);
    let light = CriticalPlus.around(service.clone().oneshot(1));
    assert_eq!(assert_ready_ok!(task::spawn(light).poll()), 1);
    assert_eq!(heavy.await.unwrap().unwrap(), 3);
    assert_eq!(layer.handle().rejected(), 0);
}

/// In exact mode, cells end that are too few for the next call.
#[tokio::test(start_paused = true)]
async fn cheap_call_runs_when_the_queue_turns_to_the_latest() {
    let rate = Rate::per_second(10).burst(5);
    let layer = of_rate(rate).queue(Queue::new(9).adaptive_lifo()).cost(|cells: &u32| *cells);
    let service = echo(&layer);
    service.clone().oneshot(4).await.unwrap();
    let heavy = tokio::task::spawn(service.clone().oneshot(5));
    tokio::task::yield_now().await;
    let start = Instant::now();
    service.clone().oneshot(1).await.unwrap();
    assert_eq!(start.elapsed(), ms(100), "the queue has stood for so long");
    heavy.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), ms(500));
}

/// An observed call of a fleet counts as rejected where it would have waited for the rate.
#[tokio::test(start_paused = true)]
async fn observing_rate_admits_all_at_once_and_counts_the_same() {
    let run = |layer: ThrottleLayer<_, _, _>| async move {
        let service = echo(&layer);
        let mut pending = Vec::new();
        for n in 0..30 {
            let mut call = task::spawn(service.clone().oneshot(n));
            if call.poll().is_pending() {
                pending.push(call);
            }
            advance(ms(20)).await;
            pending.retain_mut(|call| call.poll().is_pending());
        }
        let waiting = pending.len();
        advance(Duration::from_secs(1)).await;
        for mut call in pending {
            assert_ready_ok!(call.poll());
        }
        (layer.handle().rejected(), layer.handle().admitted(), waiting)
    };
    let layer = || of_rate(Rate::per_second(10).burst(2)).queue(2);
    let (rejected, admitted, waiting) = run(layer()).await;
    assert!(rejected > 10 && waiting > 0);
    assert_eq!(run(layer().observe()).await, (rejected, admitted, 0));
}
