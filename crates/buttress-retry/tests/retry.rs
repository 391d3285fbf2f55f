//! The promises of the crate docs, through the public API and under paused time.

#![expect(clippy::disallowed_methods, reason = "tests spawn what a user would")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{Attempt, BoxError, Deadline, Origin, Reason, Rejection, RetryHint, Verdict};
use buttress_retry::{Backoff, Budget, Jitter, Ratio, RetryLayer, StopReason};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

#[path = "retry/accounts.rs"]
mod accounts;
#[path = "retry/budget.rs"]
mod budget;
#[path = "retry/circuit.rs"]
mod circuit;
#[path = "retry/deadlines.rs"]
mod deadlines;
#[path = "retry/free.rs"]
mod free;
#[path = "retry/handle.rs"]
mod handle;
#[path = "retry/hints.rs"]
mod hints;
#[path = "retry/law.rs"]
mod law;
#[path = "retry/live.rs"]
mod live;
#[path = "retry/readiness.rs"]
mod readiness;
#[path = "retry/refunds.rs"]
mod refunds;
#[path = "retry/signals.rs"]
mod signals;
#[path = "retry/spare.rs"]
mod spare;
#[path = "retry/support.rs"]
mod support;

use support::{Log, MS, NO_WAIT, calls, fixed, flaky, poll_once, throttled, times};

#[tokio::test(start_paused = true)]
async fn call_is_repeated_until_success_and_each_attempt_knows_its_number() {
    let (service, log) = flaky(2);
    let layer = RetryLayer::new(3);
    assert_eq!(layer.layer(service).oneshot(0).await.unwrap(), 3);
    let attempts: Vec<_> = log.lock().unwrap().iter().map(|(_, attempt)| *attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert_eq!(layer.handle().retries(), 2);
    assert_eq!(Attempt::current(), Attempt::FIRST);
}

#[tokio::test(start_paused = true)]
async fn delays_grow_to_the_cap_and_attempts_include_the_first() {
    let (service, log) = flaky(u32::MAX);
    let backoff =
        Backoff::exponential(Duration::from_secs(1), Duration::from_secs(3)).jitter(Jitter::None);
    let layer = RetryLayer::new(5).backoff(backoff);
    let error = layer.layer(service).oneshot(0).await.unwrap_err();
    assert_eq!(error.to_string(), "failure 5");
    assert_eq!(times(&log), [0, 1000, 3000, 6000, 9000]);
    assert_eq!(layer.handle().stopped(StopReason::AttemptsUsed), 1);
}

#[tokio::test(start_paused = true)]
async fn zero_attempts_make_one_attempt() {
    for attempts in [0, 1] {
        let (service, log) = flaky(u32::MAX);
        assert!(RetryLayer::new(attempts).layer(service).oneshot(0).await.is_err());
        assert_eq!(calls(&log), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn default_jitter_differs_between_calls_and_a_seed_repeats_the_delays() {
    // In tower, all sessions of a maker draw the same delays, and the first is always 1000 ms.
    let run = async |seed: u64| {
        let layer = RetryLayer::new(4).seed(seed);
        let mut all = Vec::new();
        for _ in 0..3 {
            let (service, log) = flaky(u32::MAX);
            layer.layer(service).oneshot(0).await.unwrap_err();
            all.push(times(&log));
        }
        all
    };
    let first = run(7).await;
    assert_eq!(first, run(7).await);
    assert_ne!(first, run(8).await);
    assert!(first[0] != first[1] && first[1] != first[2]);
}

#[tokio::test(start_paused = true)]
async fn permanent_or_unknown_failure_is_returned_unchanged_after_one_call() {
    for verdict in [Verdict::Permanent, Verdict::Unknown] {
        let (service, log) = flaky(u32::MAX);
        let classify = move |outcome: Result<&u32, &BoxError>| match outcome {
            Ok(_) => Verdict::Success,
            Err(_) => verdict,
        };
        let layer = RetryLayer::new(3).classify(classify);
        let error = layer.layer(service).oneshot(0).await.unwrap_err();
        assert_eq!(error.to_string(), "failure 1");
        assert_eq!(calls(&log), 1);
        assert_eq!(layer.handle().stopped(StopReason::NotRetryable), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn ok_response_is_repeated_when_its_verdict_is_a_failure() {
    let (service, log) = flaky(0);
    let layer = RetryLayer::new(3).backoff(NO_WAIT).classify(|outcome: Result<&u32, &BoxError>| {
        match outcome {
            Ok(3) => Verdict::Success,
            _ => Verdict::Transient,
        }
    });
    assert_eq!(layer.layer(service).oneshot(0).await.unwrap(), 3);
    assert_eq!(calls(&log), 3);
}

#[tokio::test(start_paused = true)]
async fn hint_beyond_the_deadline_and_negative_pushback_stop_the_call() {
    let cases = [
        (RetryHint::After(2000 * MS), StopReason::PushbackExceedsDeadline),
        (RetryHint::Never, StopReason::Pushback),
    ];
    for (hint, why) in cases {
        let (service, log) = flaky(u32::MAX);
        let layer = RetryLayer::new(3).backoff(NO_WAIT).classify(throttled(hint));
        let start = Instant::now();
        let call = Deadline::after(500 * MS).around(layer.layer(service).oneshot(0));
        assert_eq!(call.await.unwrap_err().to_string(), "failure 1");
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(calls(&log), 1);
        assert_eq!(layer.handle().stopped(why), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn never_processed_call_is_repeated_once_at_once_and_for_free() {
    let (service, log) = flaky(u32::MAX);
    let budget = Budget::new(Ratio::percent(0), 0);
    let layer =
        RetryLayer::new(4).budget(budget).classify(
            |outcome: Result<&u32, &BoxError>| match outcome {
                Ok(_) => Verdict::Success,
                Err(_) => Verdict::NeverProcessed,
            },
        );
    layer.layer(service).oneshot(0).await.unwrap_err();
    assert_eq!(times(&log), [0, 0]);
    assert_eq!(layer.handle().stopped(StopReason::BudgetEmpty), 1);
}

#[tokio::test(start_paused = true)]
async fn local_rejection_is_repeated_once_when_it_names_a_time() {
    for (retry_after, times_called) in [(None, vec![0]), (Some(300 * MS), vec![0, 300])] {
        let log = Log::default();
        let (seen, start) = (Arc::clone(&log), Instant::now());
        let service = service_fn(move |_: u32| {
            seen.lock().unwrap().push((start.elapsed(), 0));
            let mut rejection = Rejection::new(Reason::RateLimited, Origin::new("throttle"));
            if let Some(delay) = retry_after {
                rejection = rejection.after(delay);
            }
            async { Err::<u32, _>(BoxError::from(rejection)) }
        });
        let layer = RetryLayer::new(9).backoff(NO_WAIT).budget(Budget::new(Ratio::percent(0), 0));
        layer.layer(service).oneshot(0).await.unwrap_err();
        assert_eq!(times(&log), times_called);
        assert_eq!(layer.handle().stopped(StopReason::Rejected), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn three_nested_retries_make_three_calls() {
    let (service, log) = flaky(u32::MAX);
    let layer = || RetryLayer::new(3).backoff(NO_WAIT);
    let service =
        ServiceBuilder::new().layer(layer()).layer(layer()).layer(layer()).service(service);
    service.oneshot(0).await.unwrap_err();
    assert_eq!(calls(&log), 3);
}

#[tokio::test(start_paused = true)]
async fn later_attempts_wait_for_readiness_and_repeat_readiness_errors() {
    // In tower, readiness errors bypass the retry policy.
    #[derive(Clone)]
    struct Unready(Arc<AtomicUsize>, bool);
    impl Service<u32> for Unready {
        type Response = u32;
        type Error = BoxError;
        type Future = std::future::Ready<Result<u32, BoxError>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            if self.0.fetch_add(1, Ordering::Relaxed) == 1 {
                return Poll::Ready(Err("not ready".into()));
            }
            self.1 = true;
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: u32) -> Self::Future {
            assert!(std::mem::take(&mut self.1), "called without being ready");
            std::future::ready(if Attempt::current().number() < 3 {
                Err("no".into())
            } else {
                Ok(3)
            })
        }
    }
    let layer = RetryLayer::new(3).backoff(NO_WAIT);
    let service = layer.layer(Unready(Arc::default(), false));
    assert_eq!(service.oneshot(0).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn inner_permit_is_held_by_an_attempt_and_not_by_the_backoff() {
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(3).backoff(fixed(100 * MS)))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(flaky(1).0);
    let mut first = pin!(service.clone().oneshot(0));
    assert!(poll_once(first.as_mut()).await.is_pending());
    let start = Instant::now();
    assert!(service.oneshot(0).await.is_ok());
    assert_eq!(start.elapsed(), 100 * MS, "it ran while the first was waiting");
    assert!(first.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn failed_response_is_dropped_before_the_wait() {
    // tower-resilience held the response through the backoff.
    let last = Arc::new(Mutex::new(Weak::new()));
    let seen = Arc::clone(&last);
    let layer = RetryLayer::new(2)
        .backoff(fixed(100 * MS))
        .classify(|_: Result<&Arc<()>, &BoxError>| Verdict::Transient);
    let service = layer.layer(service_fn(move |_: u32| {
        let response = Arc::new(());
        *seen.lock().unwrap() = Arc::downgrade(&response);
        async move { Ok::<_, BoxError>(response) }
    }));
    let mut call = Box::pin(service.oneshot(0));
    assert!(poll_once(call.as_mut()).await.is_pending());
    assert!(last.lock().unwrap().upgrade().is_none());
    let response = call.await.unwrap();
    assert!(Arc::ptr_eq(&response, &last.lock().unwrap().upgrade().unwrap()));
}

#[test]
fn endless_retries_without_delay_yield_to_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (service, _) = flaky(u32::MAX);
        let layer = RetryLayer::new(u32::MAX).backoff(NO_WAIT).budget(Budget::unlimited());
        let endless = tokio::spawn(layer.layer(service).oneshot(0));
        tokio::task::yield_now().await;
        endless.abort();
        assert!(endless.await.unwrap_err().is_cancelled());
    });
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_a_rejection_is_waited_for_exactly() {
    let (start, minute) = (Instant::now(), Duration::from_secs(60));
    let service = RetryLayer::new(3).layer(service_fn(move |_: u32| async move {
        let rejection = Rejection::new(Reason::RateLimited, Origin::new("throttle"));
        if start.elapsed() < minute { Err(BoxError::from(rejection.after(minute))) } else { Ok(7) }
    }));
    assert_eq!(service.oneshot(0).await.unwrap(), 7);
}
