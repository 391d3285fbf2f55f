//! Waiting for the cells of a rate: who goes when, who leaves, and who need not be polled.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use buttress_core::{BoxError, Deadline, Reason};
use buttress_testkit::counts;
use buttress_throttle::{Rate, Rates, ThrottleLayer, ThrottleSnapshot};
use tokio::{
    runtime::Builder,
    time::{Instant, advance, sleep, timeout},
};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, ServiceExt, service_fn};
use tower_service::Service;

use crate::support::{Echo, echo, ms, rejection};

type Call = task::Spawn<tower::util::Oneshot<Echo, u32>>;

/// Calls that wait, each polled once.
fn waiting(service: &Echo, numbers: impl IntoIterator<Item = u32>) -> Vec<Call> {
    let calls = numbers.into_iter().map(|n| task::spawn(service.clone().oneshot(n)));
    calls.inspect_mut(|call| assert_pending!(call.poll())).collect()
}

trait InspectMut: Iterator + Sized {
    fn inspect_mut(self, mut f: impl FnMut(&mut Self::Item)) -> impl Iterator<Item = Self::Item> {
        self.map(move |mut item| {
            f(&mut item);
            item
        })
    }
}

impl<I: Iterator> InspectMut for I {}

/// Which of the calls have been woken.
fn woken(calls: &[Call]) -> Vec<bool> {
    calls.iter().map(task::Spawn::is_woken).collect()
}

#[tokio::test(start_paused = true)]
async fn dropped_waiters_leave_no_wait_behind() {
    let layer = ThrottleLayer::rate(Rate::per_second(10)).queue(100);
    let service = echo(&layer);
    for n in 0..10 {
        service.clone().oneshot(n).await.unwrap();
    }
    let calls = waiting(&service, 0..100);
    assert_eq!(layer.handle().queued(), 100);
    drop(calls);
    assert_eq!(layer.handle().queued(), 0);
    let start = Instant::now();
    service.clone().oneshot(1).await.unwrap();
    assert_eq!(start.elapsed(), ms(100));
}

/// Of 600 callers in 30 s the rate has cells for 10 + 299, the last of them at 29.9 s.
#[tokio::test(start_paused = true)]
async fn impatient_callers_use_the_whole_rate() {
    for queue in [5, 20, 100] {
        let layer = ThrottleLayer::rate(Rate::per_second(10)).queue(queue);
        let (service, served) = (echo(&layer), Arc::<AtomicU32>::default());
        let start = Instant::now();
        for n in 0..600 {
            let (call, served) = (service.clone().oneshot(n), Arc::clone(&served));
            tokio::task::spawn(async move {
                let outcome = timeout(Duration::from_secs(1), call).await;
                served.fetch_add(u32::from(matches!(outcome, Ok(Ok(_)))), Ordering::Relaxed);
            });
            sleep(ms(50)).await;
        }
        assert_eq!(start.elapsed(), Duration::from_secs(30));
        assert_eq!(served.load(Ordering::Relaxed), 309, "with a queue of {queue}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_behind_a_leaving_call_run_an_interval_earlier() {
    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(1)).queue(9);
    let service = echo(&layer);
    service.clone().oneshot(0).await.unwrap();
    let mut calls = waiting(&service, 1..5);
    advance(ms(50)).await;
    drop((calls.remove(2), calls.remove(0)));
    advance(ms(50)).await;
    assert_eq!(woken(&calls), [true, false]);
    advance(ms(100)).await;
    assert_eq!(woken(&calls), [true, true]);
}

#[tokio::test(start_paused = true)]
async fn waiters_run_while_the_first_is_held_unpolled() {
    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(1)).queue(9);
    let service = echo(&layer);
    service.clone().oneshot(0).await.unwrap();
    let start = Instant::now();
    let mut never_polled = service.clone();
    let never_polled = never_polled.ready().await.unwrap().call(1);
    let mut polled_once = Box::pin(service.clone().oneshot(2));
    assert!(polled_once.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(service.clone().oneshot(3).await.unwrap(), 3);
    assert_eq!(start.elapsed(), ms(300));
    assert_eq!(layer.handle().queued(), 0, "those before it have their cells");
    assert_eq!(never_polled.await.unwrap() + polled_once.await.unwrap(), 3);
    assert_eq!(start.elapsed(), ms(300));
}

#[tokio::test(start_paused = true)]
async fn granted_cell_of_a_dropped_waiter_goes_to_the_next() {
    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(1)).queue(9);
    let service = echo(&layer);
    service.clone().oneshot(0).await.unwrap();
    let mut calls = waiting(&service, 1..3);
    advance(ms(100)).await;
    assert_eq!(woken(&calls), [true, false]);
    drop(calls.remove(0));
    assert_eq!(woken(&calls), [true]);
    assert_ready_ok!(calls[0].poll());
}

#[tokio::test(start_paused = true)]
async fn granted_cell_of_the_last_waiter_comes_back_when_dropped() {
    let layer = ThrottleLayer::rates(Rates::new(Rate::per_second(1)).and(Rate::per_minute(2)));
    let layer = layer.queue(9);
    let service = echo(&layer);
    service.clone().oneshot(0).await.unwrap();
    let calls = waiting(&service, 1..2);
    advance(ms(1000)).await;
    assert_eq!(woken(&calls), vec![true]);
    assert_eq!(layer.handle().tokens(), 0);
    advance(ms(500)).await;
    drop(calls);
    assert_eq!(layer.handle().tokens(), 1);
    service.oneshot(2).await.unwrap();
    assert_eq!(layer.handle().admitted(), 2);
}

#[tokio::test(start_paused = true)]
async fn new_call_waits_behind_waiters_even_if_its_cells_are_there() {
    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(5)).cost(|n: &u32| *n).queue(9);
    let service = echo(&layer);
    service.clone().oneshot(3).await.unwrap();
    let mut calls = waiting(&service, [5, 1]);
    assert_eq!(layer.handle().tokens(), 2);
    advance(ms(299)).await;
    assert_eq!(woken(&calls), [false, false]);
    advance(ms(1)).await;
    assert_eq!(woken(&calls), [true, false]);
    drop(calls.remove(0));
    assert_eq!(woken(&calls), [true], "the heavy one gave its cells back");
}

#[tokio::test(start_paused = true)]
async fn cheap_waiter_runs_at_once_when_the_costly_call_ahead_leaves() {
    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(5)).cost(|n: &u32| *n).queue(9);
    let service = echo(&layer);
    service.clone().oneshot(4).await.unwrap();
    let mut calls = waiting(&service, [5, 2]);
    drop(calls.remove(0));
    assert_eq!(woken(&calls), [false]);
    advance(ms(100)).await;
    assert_eq!(woken(&calls), [true], "its timer was set anew");
}

#[tokio::test(start_paused = true)]
async fn call_without_cost_never_waits() {
    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(1)).cost(|n: &u32| *n).queue(9);
    let service = echo(&layer);
    service.clone().oneshot(1).await.unwrap();
    let _calls = waiting(&service, [1]);
    assert_ready_ok!(task::spawn(service.oneshot(0)).poll());
}

#[tokio::test(start_paused = true)]
async fn retry_delay_counts_the_calls_that_still_wait() {
    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(2)).cost(|n: &u32| *n).queue(3);
    let service = echo(&layer);
    service.clone().oneshot(2).await.unwrap();
    let mut calls = waiting(&service, [2, 1, 1]);
    let refused = |n| {
        let outcome = task::spawn(service.clone().oneshot(n)).poll();
        let rejection = rejection::<u32>(Err(assert_ready_err!(outcome)));
        (rejection.reason(), rejection.retry_after())
    };
    assert_eq!(refused(1), (Reason::RateLimited, Some(ms(500))));
    assert_eq!(refused(2), (Reason::RateLimited, Some(ms(600))));
    drop(calls.remove(0));
    calls.extend(waiting(&service, [1]));
    assert_eq!(refused(1), (Reason::RateLimited, Some(ms(400))));
}

#[tokio::test(start_paused = true)]
async fn expected_wait_counts_the_cells_ahead() {
    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(2)).cost(|n: &u32| *n).queue(9);
    let service = echo(&layer);
    service.clone().oneshot(2).await.unwrap();
    let calls = waiting(&service, [2, 1]);
    let call = |left| task::spawn(Deadline::after(ms(left)).around(service.clone().oneshot(2)));
    let hopeless = rejection::<u32>(Err(assert_ready_err!(call(499).poll())));
    assert_eq!(hopeless.reason(), Reason::RateLimited);
    assert_eq!(hopeless.retry_after(), Some(ms(500)));
    let mut hopeful = call(500);
    assert_pending!(hopeful.poll());
    let others = tokio::task::spawn(async move {
        for call in calls {
            call.await.unwrap();
        }
    });
    assert_eq!(hopeful.await.unwrap(), 2);
    others.await.unwrap();
}

/// Timers fire up to a millisecond late, and a burst of one keeps no cell that comes meanwhile.
#[tokio::test(start_paused = true)]
async fn queue_keeps_up_with_a_rate_faster_than_its_timers() {
    let layer = ThrottleLayer::rate(Rate::per_second(10_000).burst(1)).queue(1000);
    let service = echo(&layer);
    let start = Instant::now();
    let calls = (0..1000).map(|n| tokio::task::spawn(service.clone().oneshot(n)));
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    assert_eq!(start.elapsed(), ms(100));
}

#[tokio::test(start_paused = true)]
async fn standstill_admits_no_more_than_the_burst() {
    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(2)).queue(50);
    let service = echo(&layer);
    service.clone().oneshot(0).await.unwrap();
    service.clone().oneshot(0).await.unwrap();
    let calls = waiting(&service, 0..50);
    advance(Duration::from_secs(4)).await;
    assert_eq!(woken(&calls).iter().filter(|woken| **woken).count(), 2);
    for (call, n) in calls.into_iter().zip(0..) {
        assert_eq!(call.await.unwrap(), n);
    }
}

/// In real time: each runtime that pauses time has a clock of its own.
#[test]
fn waiter_does_not_depend_on_the_runtime_of_another() {
    let layer = ThrottleLayer::rate(Rate::per_second(50).burst(1)).queue(9);
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

/// In real time, on two threads: none of the callers is passed over.
#[test]
fn callers_on_several_threads_are_all_served() {
    let layer = ThrottleLayer::rate(Rate::per_second(20_000).burst(1)).queue(1000);
    let service = layer.layer(service_fn(async |n: u32| Ok::<_, BoxError>(n)));
    let threads = [(); 4].map(|()| {
        let service = service.clone();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                for n in 0..50 {
                    assert_eq!(service.clone().oneshot(n).await.unwrap(), n);
                }
            });
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
    let expected = counts!(ThrottleSnapshot { admitted: [0, 0, 200, 0] });
    assert_eq!(layer.handle().snapshot(), expected);
}

/// In real time: each runtime that pauses time has a clock of its own.
#[test]
fn waiters_do_not_wake_each_other_for_a_stalled_runtime() {
    let layer = ThrottleLayer::rate(Rate::per_hour(1)).queue(9);
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
