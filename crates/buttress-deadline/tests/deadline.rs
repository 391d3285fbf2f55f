//! The promises of the crate docs, through the public API and under paused time.

#![expect(clippy::disallowed_methods, reason = "tests spawn what a user would")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail like tests")]

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use buttress_core::{BoxError, Deadline};
use buttress_deadline::{DeadlineLayer, DeadlineSnapshot, Ratio};
use buttress_testkit::counts;
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

#[path = "deadline/handle.rs"]
mod handle;
#[path = "deadline/live.rs"]
mod live;
#[path = "deadline/readiness.rs"]
mod readiness;
#[path = "deadline/support.rs"]
mod support;
#[path = "deadline/timers.rs"]
mod timers;

use support::{MS, answer, poll_once, rejected};

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
    // In tower-resilience, 1 s became 5.9 s.
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

/// Finagle, `DeadlineFilterTest`.
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
    assert!(poll_once(call.as_mut()).await.is_pending());
    advance(101 * MS).await;
    match poll_once(call.as_mut()).await {
        Poll::Ready(Err(_)) => assert_eq!(alive.load(Ordering::Relaxed), 0),
        _ => panic!("the deadline has passed"),
    }
}
