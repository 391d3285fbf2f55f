//! What the crate docs promise, through the public API and under paused time.

#![expect(clippy::disallowed_methods, reason = "tests spawn what a user would")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail like tests")]

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use buttress_core::{BoxError, Deadline, Reason, Rejection};
use buttress_deadline::{DeadlineHandle, DeadlineLayer, DeadlineService, DeadlineSnapshot, Ratio};
use buttress_testkit::counts;
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

const MS: Duration = Duration::from_millis(1);

/// Answers with the ambient deadline's distance after `delay` milliseconds.
async fn answer(delay: u64) -> Result<Option<Duration>, BoxError> {
    let left = Deadline::current().map(Deadline::remaining);
    sleep(MS * u32::try_from(delay).unwrap()).await;
    Ok(left)
}

fn rejected(error: &BoxError) -> &Rejection {
    let rejection = Rejection::find(error).expect("a rejection");
    assert_eq!(rejection.reason(), Reason::DeadlineExceeded);
    rejection
}

#[tokio::test(start_paused = true)]
async fn response_in_time_is_returned_and_a_late_call_is_cut_off_at_the_deadline() {
    let service = DeadlineLayer::new(100 * MS).named("db").layer(service_fn(answer));
    let start = Instant::now();
    assert!(service.clone().oneshot(99).await.is_ok());
    let error = service.oneshot(200).await.unwrap_err();
    assert_eq!(start.elapsed(), 199 * MS);
    assert_eq!(rejected(&error).origin().name(), "db");
    assert_eq!(rejected(&error).deadline(), Some(Deadline::at(start + 199 * MS)));
}

#[tokio::test(start_paused = true)]
async fn response_at_the_very_deadline_wins() {
    let layer = DeadlineLayer::new(100 * MS);
    assert!(layer.layer(service_fn(answer)).oneshot(100).await.is_ok());
    assert_eq!(layer.handle().exceeded(), 0);
}

#[tokio::test(start_paused = true)]
async fn timeout_counts_from_the_call_and_not_from_the_first_poll() {
    // tower-resilience: 1 s became 5.9 s.
    let mut service = DeadlineLayer::new(1000 * MS).layer(service_fn(answer));
    let start = Instant::now();
    let future = service.ready().await.unwrap().call(2000);
    sleep(600 * MS).await;
    rejected(&future.await.unwrap_err());
    assert_eq!(start.elapsed(), 1000 * MS);

    let future = service.ready().await.unwrap().call(2000);
    sleep(4900 * MS).await;
    let late = Instant::now();
    rejected(&future.await.unwrap_err());
    assert_eq!(late.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn deadline_covers_the_wait_for_a_full_inner_limiter() {
    // tower: timeout(1 s) over a full limiter answered Ok after 30 s.
    let limited = ServiceBuilder::new()
        .layer(DeadlineLayer::new(1000 * MS))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(service_fn(answer));
    let mut holder = pin!(limited.clone().oneshot(30_000));
    assert!(futures_poll(holder.as_mut()).await.is_pending());
    let start = Instant::now();
    rejected(&limited.oneshot(0).await.unwrap_err());
    assert_eq!(start.elapsed(), 1000 * MS);
}

#[tokio::test(start_paused = true)]
async fn expired_handle_gives_the_inner_permit_to_another_handle() {
    let layer = ServiceBuilder::new()
        .layer(DeadlineLayer::new(100 * MS))
        .layer(ConcurrencyLimitLayer::new(1));
    let mut holder = layer.service(service_fn(answer));
    let mut idle = holder.clone();
    let mut stranger = holder.clone();
    let held = holder.ready().await.unwrap().call(50);
    assert!(poll_ready_once(&mut idle).await.is_pending());
    sleep(200 * MS).await;
    // The permit went to the idle handle, whose wait is over all the same.
    rejected(&held.await.map(|_| ()).unwrap_err());
    assert!(poll_ready_once(&mut idle).await.is_ready());
    rejected(&idle.call(0).await.unwrap_err());
    assert!(stranger.ready().await.unwrap().call(0).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn wait_for_readiness_counts_towards_the_timeout() {
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(100 * MS))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(service_fn(answer));
    let first = tokio::spawn(service.clone().oneshot(60));
    tokio::task::yield_now().await;
    let left = service.oneshot(0).await.unwrap();
    assert_eq!(left, Some(40 * MS));
    first.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn handle_that_waited_once_gives_later_calls_the_whole_timeout() {
    let mut service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(100 * MS))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(service_fn(answer));
    let other = tokio::spawn(service.clone().oneshot(60));
    tokio::task::yield_now().await;
    assert!(service.ready().await.is_ok());
    other.await.unwrap().unwrap();
    sleep(3_600_000 * MS).await;
    let left = service.ready().await.unwrap().call(0).await.unwrap();
    assert_eq!(left, Some(100 * MS));
}

#[tokio::test(start_paused = true)]
async fn expired_call_does_not_reach_the_inner_service_and_releases_its_permit() {
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&calls);
    let layer = DeadlineLayer::new(100 * MS);
    let service = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(service_fn(move |delay| {
            seen.fetch_add(1, Ordering::Relaxed);
            answer(delay)
        }));
    let past = Deadline::at(Instant::now());
    let mut handle = service.clone();
    let error = past.around(async { handle.ready().await.unwrap().call(0).await }).await;
    rejected(&error.unwrap_err());
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    let expected = counts!(DeadlineSnapshot { calls: 1, expired: 1, rejected: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
    assert!(service.oneshot(0).await.is_ok(), "the permit is free although `handle` lives");
    drop(handle);
}

#[tokio::test(start_paused = true)]
async fn earliest_of_own_and_ambient_deadline_holds() {
    let service = DeadlineLayer::new(100 * MS).layer(service_fn(answer));
    let left = Deadline::after(40 * MS).around(service.clone().oneshot(0)).await.unwrap();
    assert_eq!(left, Some(40 * MS));
    let left = Deadline::after(400 * MS).around(service.oneshot(0)).await.unwrap();
    assert_eq!(left, Some(100 * MS));
    let propagating = DeadlineLayer::propagate().layer(service_fn(answer));
    assert_eq!(propagating.clone().oneshot(0).await.unwrap(), None);
    let start = Instant::now();
    let error = Deadline::after(40 * MS).around(propagating.oneshot(100)).await.unwrap_err();
    rejected(&error);
    assert_eq!(start.elapsed(), 40 * MS);
}

#[tokio::test(start_paused = true)]
async fn deadline_is_ambient_at_every_poll_on_any_task() {
    let mut service = DeadlineLayer::new(100 * MS).layer(service_fn(|(): ()| async {
        let first = Deadline::current();
        sleep(10 * MS).await;
        assert_eq!(Deadline::current(), first);
        Ok::<_, BoxError>(first)
    }));
    let future = service.ready().await.unwrap().call(());
    let expected = Deadline::after(100 * MS);
    assert_eq!(tokio::spawn(future).await.unwrap().unwrap(), Some(expected));
    assert_eq!(Deadline::current(), None);
}

#[tokio::test(start_paused = true)]
async fn zero_timeout_rejects_every_call_and_the_longest_none() {
    let none = DeadlineLayer::new(Duration::ZERO).layer(service_fn(answer));
    rejected(&none.oneshot(0).await.unwrap_err());
    let forever = DeadlineLayer::new(Duration::MAX).layer(service_fn(answer));
    assert_eq!(forever.oneshot(86_400_000).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn observing_layer_counts_and_cuts_nothing_off() {
    let layer = DeadlineLayer::new(100 * MS).observe();
    let service = layer.layer(service_fn(answer));
    assert!(service.clone().oneshot(500).await.is_ok());
    let past = Deadline::at(Instant::now());
    assert!(past.around(service.oneshot(0)).await.is_ok());
    let expected = counts!(DeadlineSnapshot { calls: 2, expired: 1, exceeded: 1, rejected: 2 });
    assert_eq!(layer.handle().snapshot(), expected);
}

/// Finagle, DeadlineFilterTest.
#[tokio::test(start_paused = true)]
async fn expired_calls_are_rejected_up_to_max_reject_ratio() {
    let layer = DeadlineLayer::propagate().max_reject_ratio(Ratio::percent(20));
    let handle = layer.handle();
    let service = layer.layer(service_fn(answer));
    let timely = |count: usize| {
        let service = service.clone();
        async move {
            for _ in 0..count {
                service.clone().oneshot(0).await.unwrap();
            }
        }
    };
    let expired = || Deadline::at(Instant::now()).around(service.clone().oneshot(0));
    timely(3).await;
    assert!(expired().await.is_ok());
    let expected = counts!(DeadlineSnapshot { calls: 4, expired: 1, served_late: 1 });
    assert_eq!(handle.snapshot(), expected);
    timely(2).await;
    assert!(expired().await.is_err());
    assert!(expired().await.is_ok());
    timely(4).await;
    assert!(expired().await.is_ok());
    timely(5).await;
    sleep(11_000 * MS).await;
    assert!(expired().await.is_ok(), "what was earned 10 s ago is gone");
}

#[tokio::test(start_paused = true)]
async fn inner_future_is_dropped_before_the_rejection_is_returned() {
    struct Alive(Arc<AtomicUsize>);
    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let alive = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&alive);
    let service = DeadlineLayer::new(100 * MS).layer(service_fn(move |(): ()| {
        count.fetch_add(1, Ordering::Relaxed);
        let guard = Alive(Arc::clone(&count));
        async move {
            let _guard = guard;
            std::future::pending::<Result<(), BoxError>>().await
        }
    }));
    let mut call = pin!(service.oneshot(()));
    assert!(futures_poll(call.as_mut()).await.is_pending());
    advance(101 * MS).await;
    match futures_poll(call.as_mut()).await {
        Poll::Ready(Err(_)) => assert_eq!(alive.load(Ordering::Relaxed), 0),
        _ => panic!("the deadline has passed"),
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_is_never_polled_delays_no_other_call() {
    let layer = DeadlineLayer::new(100 * MS);
    let service = layer.layer(service_fn(answer));
    let mut held = Box::pin(service.clone().oneshot(1000));
    assert!(futures_poll(held.as_mut()).await.is_pending());
    sleep(10 * MS).await;
    let start = Instant::now();
    let others = (0..50_u32).map(|i| {
        let service = service.clone();
        tokio::spawn(async move {
            sleep(MS * i).await;
            service.oneshot(1000).await.unwrap_err();
            assert_eq!(start.elapsed(), MS * (100 + i));
        })
    });
    for other in others.collect::<Vec<_>>() {
        other.await.unwrap();
    }
    assert_eq!(layer.handle().in_flight(), 1);
    rejected(&held.await.unwrap_err());
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn deadlines_far_out_of_order_are_kept() {
    let layer = DeadlineLayer::propagate();
    let service = layer.layer(service_fn(answer));
    let calls = (0..200_u32).map(|i| {
        let timeout = MS * (1 + i * 37 % 200);
        let call = Deadline::after(timeout).around(service.clone().oneshot(10_000));
        tokio::spawn(async move {
            let start = Instant::now();
            call.await.unwrap_err();
            (start.elapsed(), timeout)
        })
    });
    for call in calls.collect::<Vec<_>>() {
        let (took, timeout) = call.await.unwrap();
        assert_eq!(took, timeout);
    }
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn call_first_polled_after_its_deadline_leaves_other_timers_alone() {
    let mut service = DeadlineLayer::new(10_000 * MS).layer(service_fn(answer));
    let mut first = Box::pin(service.call(100_000));
    assert!(futures_poll(first.as_mut()).await.is_pending());
    let early = Deadline::after(1000 * MS);
    let second = Deadline::with(Some(early), || service.call(100_000));
    let start = Instant::now();
    sleep(2000 * MS).await;
    rejected(&second.await.unwrap_err());
    rejected(&first.await.unwrap_err());
    assert_eq!(start.elapsed(), 10_000 * MS);
}

#[test]
fn busy_polled_call_ends_at_its_deadline() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let service = DeadlineLayer::new(3 * MS).layer(service_fn(answer));
    for _ in 0..50 {
        let mut call = Box::pin(service.clone().oneshot(60_000));
        runtime.block_on(async {
            tokio::spawn(async move {
                loop {
                    match futures_poll(call.as_mut()).await {
                        Poll::Ready(outcome) => return rejected(&outcome.unwrap_err()).clone(),
                        Poll::Pending => tokio::task::yield_now().await,
                    }
                }
            })
            .await
            .unwrap();
        });
    }
}

#[test]
fn runtime_can_be_dropped_before_its_calls() {
    let layer = DeadlineLayer::new(10 * MS);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let mut calls = Vec::new();
    runtime.block_on(async {
        for _ in 0..2 {
            let mut call = Box::pin(layer.layer(service_fn(answer)).oneshot(100));
            assert!(futures_poll(call.as_mut()).await.is_pending());
            calls.push(call);
            sleep(5 * MS).await;
        }
    });
    drop(runtime);
    drop(calls);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[test]
fn layer_outlives_the_runtimes_of_its_calls() {
    let layer = DeadlineLayer::new(10 * MS);
    for _ in 0..20 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let service = layer.layer(service_fn(answer));
        // One call ends while its timer is armed, and the runtime ends with it armed.
        runtime.block_on(async {
            assert!(service.clone().oneshot(1).await.is_ok());
            rejected(&service.clone().oneshot(100).await.unwrap_err());
            let mut left = Box::pin(service.clone().oneshot(100));
            assert!(futures_poll(left.as_mut()).await.is_pending());
            drop(tokio::spawn(left));
        });
    }
    assert_eq!(layer.handle().in_flight(), 0);
}

#[test]
fn calls_on_four_threads_all_end_at_their_deadline() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let layer = DeadlineLayer::new(20 * MS);
    let service = layer.layer(service_fn(|(): ()| std::future::pending::<Result<(), BoxError>>()));
    runtime.block_on(async {
        let calls: Vec<_> =
            (0..10_000).map(|_| tokio::spawn(service.clone().oneshot(()))).collect();
        for call in calls {
            rejected(&call.await.unwrap().unwrap_err());
        }
    });
    assert_eq!(layer.handle().exceeded(), 10_000);
    assert_eq!(layer.handle().in_flight(), 0);
}

/// A layer with a deadline of 100 ms, and its handle.
fn layer_of_100_ms() -> (DeadlineLayer, DeadlineHandle) {
    let layer = DeadlineLayer::new(100 * MS);
    let handle = layer.handle();
    (layer, handle)
}

#[tokio::test(start_paused = true)]
async fn snapshot_counts_each_call_once_by_its_end() {
    let (layer, handle) = layer_of_100_ms();
    let service = layer.layer(service_fn(answer));
    service.clone().oneshot(0).await.unwrap();
    service.clone().oneshot(200).await.unwrap_err();
    let late = Deadline::at(Instant::now()).around(service.clone().oneshot(0));
    late.await.unwrap_err();
    let expected = counts!(DeadlineSnapshot { calls: 3, expired: 1, exceeded: 1, rejected: 2 });
    assert_eq!(handle.snapshot(), expected);
    let mut running = pin!(service.oneshot(50));
    assert!(futures_poll(running.as_mut()).await.is_pending());
    let (calls, in_flight) = (handle.snapshot().calls, handle.snapshot().in_flight);
    assert_eq!((calls, in_flight), (handle.calls(), handle.in_flight()));
    assert_eq!((calls, in_flight), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn call_rejected_after_its_readiness_expired_counts_as_exceeded() {
    let (layer, handle) = layer_of_100_ms();
    let limited = layer.layer(ConcurrencyLimitLayer::new(1).layer(service_fn(answer)));
    let mut holder = pin!(limited.clone().oneshot(99));
    assert!(futures_poll(holder.as_mut()).await.is_pending());
    sleep(50 * MS).await;
    let waiting = Deadline::after(10 * MS).around(limited.oneshot(0));
    waiting.await.unwrap_err();
    holder.await.unwrap();
    let expected = counts!(DeadlineSnapshot { calls: 2, exceeded: 1, rejected: 1 });
    assert_eq!(handle.snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn served_late_call_is_not_rejected_until_it_exceeds_its_own_timeout() {
    let layer = DeadlineLayer::new(100 * MS).max_reject_ratio(Ratio::percent(0));
    let handle = layer.handle();
    let service = layer.layer(service_fn(answer));
    let late = |delay| Deadline::at(Instant::now()).around(service.clone().oneshot(delay));
    late(0).await.unwrap();
    let expected = counts!(DeadlineSnapshot { calls: 1, expired: 1, served_late: 1 });
    assert_eq!(handle.snapshot(), expected);
    late(200).await.unwrap_err();
    assert_eq!(handle.served_late(), 2);
    assert_eq!(handle.rejected(), 1);
}

#[tokio::test(start_paused = true)]
async fn observed_call_counts_as_rejected_once_when_it_is_late_and_slow() {
    let layer = DeadlineLayer::new(100 * MS).observe();
    let service = layer.layer(service_fn(answer));
    Deadline::at(Instant::now()).around(service.oneshot(200)).await.unwrap();
    let expected = counts!(DeadlineSnapshot { calls: 1, expired: 1, rejected: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn handle_of_a_service_reads_the_counters_of_the_layer() {
    let (layer, handle) = layer_of_100_ms();
    let service = layer.layer(service_fn(answer));
    let of_service = service.handle();
    service.oneshot(200).await.unwrap_err();
    assert_eq!(of_service.snapshot(), handle.snapshot());
    assert_eq!(handle.exceeded(), 1);
}

#[tokio::test(start_paused = true)]
async fn per_service_gives_each_service_counters_of_its_own() {
    let layer = DeadlineLayer::new(100 * MS).per_service();
    let (slow, quick) = (layer.layer(service_fn(answer)), layer.layer(service_fn(answer)));
    slow.clone().oneshot(200).await.unwrap_err();
    slow.clone().clone().oneshot(0).await.unwrap();
    quick.clone().oneshot(0).await.unwrap();
    let slow_counts = counts!(DeadlineSnapshot { calls: 2, exceeded: 1, rejected: 1 });
    assert_eq!(slow.handle().snapshot(), slow_counts);
    assert_eq!(quick.handle().snapshot(), counts!(DeadlineSnapshot { calls: 1 }));
    assert_eq!(layer.handle().snapshot(), DeadlineSnapshot::default());
}

#[tokio::test(start_paused = true)]
async fn per_service_gives_each_service_late_rejections_of_its_own() {
    let layer = DeadlineLayer::propagate().max_reject_ratio(Ratio::percent(50)).per_service();
    let (busy, idle) = (layer.layer(service_fn(answer)), layer.layer(service_fn(answer)));
    for _ in 0..2 {
        busy.clone().oneshot(0).await.unwrap();
    }
    let late = |service: &DeadlineService<_>| {
        Deadline::at(Instant::now()).around(service.clone().oneshot(0))
    };
    assert!(late(&idle).await.is_ok());
    assert!(late(&busy).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn options_never_change_a_sibling() {
    let (layer, handle) = layer_of_100_ms();
    let sibling = layer.clone();
    let _ = layer.named("other").per_service().observe().max_reject_ratio(Ratio::ZERO);
    let error = sibling.layer(service_fn(answer)).oneshot(200).await.unwrap_err();
    assert_eq!(rejected(&error).origin().name(), "deadline");
    assert_eq!(handle.snapshot(), sibling.handle().snapshot());
    assert_eq!(handle.exceeded(), 1);
}

async fn futures_poll<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut future).poll(cx))).await
}

async fn poll_ready_once<S: Service<u64>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    poll_fn(|cx| Poll::Ready(service.poll_ready(cx))).await
}
