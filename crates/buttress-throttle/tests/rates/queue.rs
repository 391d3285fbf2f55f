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
use buttress_throttle::{Rate, ThrottleSnapshot};
use tokio::{
    runtime::Builder,
    time::{Instant, sleep, timeout},
};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, ServiceExt, service_fn};
use tower_service::Service;

use super::support::{Echo, echo, ms, rejection};
use super::{PACE, advance, assert_tokens, decided, of_rate};

type Call = task::Spawn<tower::util::Oneshot<Echo, u32>>;

/// Calls that wait, each polled once.
async fn waiting(service: &Echo, numbers: impl IntoIterator<Item = u32>) -> Vec<Call> {
    let calls = numbers.into_iter().map(|n| task::spawn(service.clone().oneshot(n)));
    let calls = calls.inspect_mut(|call| assert_pending!(call.poll())).collect();
    decided().await;
    calls
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
    let layer = of_rate(Rate::per_second(10)).queue(100);
    let service = echo(&layer);
    for n in 0..10 {
        service.clone().oneshot(n).await.unwrap();
    }
    let calls = waiting(&service, 0..100).await;
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
        let layer = of_rate(Rate::per_second(10)).queue(queue);
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
    let layer = of_rate(Rate::per_second(10).burst(1)).queue(9);
    let service = echo(&layer);
    service.clone().oneshot(0).await.unwrap();
    let mut calls = waiting(&service, 1..5).await;
    advance(ms(50)).await;
    drop((calls.remove(2), calls.remove(0)));
    advance(ms(50)).await;
    assert_eq!(woken(&calls), [true, false]);
    advance(ms(100)).await;
    assert_eq!(woken(&calls), [true, true]);
}

#[tokio::test(start_paused = true)]
async fn waiters_run_while_the_first_is_held_unpolled() {
    let layer = of_rate(Rate::per_second(10).burst(1)).queue(9);
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
    let layer = of_rate(Rate::per_second(10).burst(1)).queue(9);
    let service = echo(&layer);
    service.clone().oneshot(0).await.unwrap();
    let mut calls = waiting(&service, 1..3).await;
    advance(ms(100)).await;
    assert_eq!(woken(&calls), [true, false]);
    drop(calls.remove(0));
    assert_eq!(woken(&calls), [true]);
    assert_ready_ok!(calls[0].poll());
}

#[tokio::test(start_paused = true)]
async fn new_call_waits_behind_waiters_even_if_its_cells_are_there() {
    let layer = of_rate(Rate::per_second(10).burst(5)).cost(|n: &u32| *n).queue(9);
    let service = echo(&layer);
    service.clone().oneshot(3).await.unwrap();
    let mut calls = waiting(&service, [5, 1]).await;
    assert_tokens(layer.handle().tokens(), 2);
    advance(ms(299)).await;
    assert_eq!(woken(&calls), [false, false]);
    advance(ms(1)).await;
    assert_eq!(woken(&calls), [true, false]);
    drop(calls.remove(0));
    assert_eq!(woken(&calls), [true], "the heavy one gave its cells back");
}

#[tokio::test(start_paused = true)]
async fn cheap_waiter_runs_at_once_when_the_costly_call_ahead_leaves() {
    let layer = of_rate(Rate::per_second(10).burst(5)).cost(|n: &u32| *n).queue(9);
    let service = echo(&layer);
    service.clone().oneshot(4).await.unwrap();
    let mut calls = waiting(&service, [5, 2]).await;
    drop(calls.remove(0));
    decided().await;
    assert_eq!(woken(&calls), [false]);
    advance(ms(100)).await;
    assert_eq!(woken(&calls), [true], "its timer was set anew");
}

#[tokio::test(start_paused = true)]
async fn call_without_cost_never_waits() {
    let layer = of_rate(Rate::per_second(10).burst(1)).cost(|n: &u32| *n).queue(9);
    let service = echo(&layer);
    service.clone().oneshot(1).await.unwrap();
    let _calls = waiting(&service, [1]).await;
    assert_ready_ok!(task::spawn(service.oneshot(0)).poll());
}

#[tokio::test(start_paused = true)]
async fn retry_delay_counts_the_calls_that_still_wait() {
    let layer = of_rate(Rate::per_second(10).burst(2)).cost(|n: &u32| *n).queue(3);
    let service = echo(&layer);
    service.clone().oneshot(2).await.unwrap();
    let mut calls = waiting(&service, [2, 1, 1]).await;
    let refused = |n| {
        let outcome = task::spawn(service.clone().oneshot(n)).poll();
        let rejection = rejection::<u32>(Err(assert_ready_err!(outcome)));
        (rejection.reason(), rejection.retry_after())
    };
    assert_eq!(refused(1), (Reason::RateLimited, Some(ms(500))));
    assert_eq!(refused(2), (Reason::RateLimited, Some(ms(600))));
    drop(calls.remove(0));
    calls.extend(waiting(&service, [1]).await);
    assert_eq!(refused(1), (Reason::RateLimited, Some(ms(400))));
}

#[tokio::test(start_paused = true)]
async fn expected_wait_counts_the_cells_ahead() {
    let layer = of_rate(Rate::per_second(10).burst(2)).cost(|n: &u32| *n).queue(9);
    let service = echo(&layer);
    service.clone().oneshot(2).await.unwrap();
    let calls = waiting(&service, [2, 1]).await;
    let call = |left| task::spawn(Deadline::after(ms(left)).around(service.clone().oneshot(2)));
    let hopeless = rejection::<u32>(Err(assert_ready_err!(call(499).poll())));
    assert_eq!(hopeless.reason(), Reason::RateLimited);
    assert_eq!(hopeless.retry_after(), Some(ms(500)));
    let mut hopeful = call(500 + PACE);
    assert_pending!(hopeful.poll());
    let others = tokio::task::spawn(async move {
        for call in calls {
            call.await.unwrap();
        }
    });
    assert_eq!(hopeful.await.unwrap(), 2);
    others.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn standstill_admits_no_more_than_the_burst() {
    let layer = of_rate(Rate::per_second(10).burst(2)).queue(50);
    let service = echo(&layer);
    service.clone().oneshot(0).await.unwrap();
    service.clone().oneshot(0).await.unwrap();
    let calls = waiting(&service, 0..50).await;
    advance(Duration::from_secs(4)).await;
    assert_eq!(woken(&calls).iter().filter(|woken| **woken).count(), 2);
    for (call, n) in calls.into_iter().zip(0..) {
        assert_eq!(call.await.unwrap(), n);
    }
}

/// In real time, on two threads: none of the callers is passed over.
#[test]
fn callers_on_several_threads_are_all_served() {
    let layer = of_rate(Rate::per_second(20_000).burst(1)).queue(1000);
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
