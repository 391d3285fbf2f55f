//! The timers of a layer: order, other tasks, and other runtimes.

use std::task::Poll;

use buttress_core::{BoxError, Deadline};
use buttress_deadline::DeadlineLayer;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{MS, answer, poll_once, rejected};

#[tokio::test(start_paused = true)]
async fn call_that_is_never_polled_delays_no_other_call() {
    let layer = DeadlineLayer::new(100 * MS);
    let service = layer.layer(service_fn(answer));
    let mut held = Box::pin(service.clone().oneshot(1000));
    assert!(poll_once(held.as_mut()).await.is_pending());
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
    assert!(poll_once(first.as_mut()).await.is_pending());
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
                    match poll_once(call.as_mut()).await {
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
            assert!(poll_once(call.as_mut()).await.is_pending());
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
        // The runtime ends while the timer of the last call is armed.
        runtime.block_on(async {
            assert!(service.clone().oneshot(1).await.is_ok());
            rejected(&service.clone().oneshot(100).await.unwrap_err());
            let mut left = Box::pin(service.clone().oneshot(100));
            assert!(poll_once(left.as_mut()).await.is_pending());
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
