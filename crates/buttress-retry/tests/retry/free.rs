//! Free attempts, and outcomes that an inner retry leaves to an outer retry.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use buttress_core::{Attempt, BoxError, Deadline, Rejection, RetryHint, Verdict};
use buttress_deadline::DeadlineLayer;
use buttress_retry::{Budget, Ratio, RetryLayer, RetryThrottle, StopReason};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{
    MS, NO_WAIT, calls, fixed, flaky, never_processed, rejected, scripted, throttled, times,
};

/// Reads the verdict from the text of an error.
fn by_text(outcome: Result<&u32, &BoxError>) -> Verdict {
    match outcome.map_err(ToString::to_string) {
        Ok(_) => Verdict::Success,
        Err(text) if text == "refused" => Verdict::NeverProcessed,
        Err(_) => match outcome.err().and_then(Rejection::find) {
            Some(rejection) => Verdict::from_rejection(rejection),
            None => Verdict::Transient,
        },
    }
}

#[tokio::test(start_paused = true)]
async fn free_attempt_does_not_count_as_an_attempt() {
    let numbers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&numbers);
    let (service, log) = scripted(move |attempt| {
        seen.lock().unwrap().push((attempt, Attempt::current().previous_attempts()));
        match attempt {
            1 => Err("refused".into()),
            2 => Err(rejected(100 * MS)),
            _ => Err("down".into()),
        }
    });
    let layer = RetryLayer::new(3).backoff(NO_WAIT).classify(by_text);
    layer.layer(service).oneshot(0).await.unwrap_err();
    // Two attempts never reached the service, and three did.
    assert_eq!(calls(&log), 5);
    assert_eq!(layer.handle().stopped(StopReason::AttemptsUsed), 1);
    assert_eq!(*numbers.lock().unwrap(), [(1, 0), (2, 0), (3, 0), (4, 1), (5, 2)]);
}

#[tokio::test(start_paused = true)]
async fn only_the_first_never_processed_attempt_is_repeated_for_free() {
    let budget = Budget::throttle(RetryThrottle::new(100, Ratio::percent(10)));
    let (service, log) = scripted(|_| Err("refused".into()));
    let layer = RetryLayer::new(3).backoff(NO_WAIT).budget(budget.clone()).classify(by_text);
    layer.layer(service).oneshot(0).await.unwrap_err();
    assert_eq!(calls(&log), 4);
    assert_eq!(layer.handle().stopped(StopReason::AttemptsUsed), 1);
    assert_eq!(budget.balance(), Some(97), "three of four failures are the throttle's");
}

#[tokio::test(start_paused = true)]
async fn grpc_throttle_ignores_transparent_retries() {
    let budget = Budget::throttle(RetryThrottle::new(100, Ratio::percent(10)));
    let (service, _) = scripted(|attempt| if attempt == 1 { Err("refused".into()) } else { Ok(0) });
    let layer = RetryLayer::new(2).budget(budget.clone()).classify(by_text);
    layer.layer(service).oneshot(0).await.unwrap();
    assert_eq!(budget.balance(), Some(100));
}

#[tokio::test(start_paused = true)]
async fn layer_of_one_attempt_repeats_nothing() {
    for attempts in [0, 1] {
        let (service, log) = flaky(u32::MAX);
        let layer = RetryLayer::new(attempts).classify(never_processed);
        layer.layer(service).oneshot(0).await.unwrap_err();
        assert_eq!(calls(&log), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn free_attempt_that_cannot_finish_is_skipped_under_skip_late_attempts() {
    let layer = RetryLayer::new(3).skip_late_attempts().classify(never_processed);
    let service = layer.layer(service_fn(|request: u32| async move {
        sleep(200 * MS).await;
        if request == 0 { Ok(0) } else { Err(BoxError::from("refused")) }
    }));
    service.clone().oneshot(0).await.unwrap();
    let start = Instant::now();
    Deadline::after(300 * MS).around(service.oneshot(1)).await.unwrap_err();
    assert_eq!(start.elapsed(), 200 * MS);
    assert_eq!(layer.handle().stopped(StopReason::CannotFinish), 1);
}

#[tokio::test(start_paused = true)]
async fn nested_retries_make_two_calls_when_a_limiter_rejects_with_retry_after() {
    let (service, log) = scripted(|_| Err(rejected(300 * MS)));
    let layer = || RetryLayer::new(9).backoff(NO_WAIT);
    let handle = layer().handle();
    let stack = ServiceBuilder::new().layer(layer()).layer(layer()).layer(layer());
    stack.service(service).oneshot(0).await.unwrap_err();
    assert_eq!(times(&log), [0, 300]);
    assert_eq!(handle.retries(), 0);
}

#[tokio::test(start_paused = true)]
async fn rejection_is_judged_by_the_outer_retry_when_the_inner_did_not_wait() {
    // The inner layer makes a single attempt, so it never gives up.
    let start = Instant::now();
    let stack = ServiceBuilder::new().layer(RetryLayer::new(2)).layer(RetryLayer::new(1));
    let service = stack.service_fn(move |_: u32| async move {
        if start.elapsed() < 300 * MS { Err(rejected(300 * MS)) } else { Ok(7) }
    });
    assert_eq!(service.oneshot(0).await.unwrap(), 7);
}

/// The deadline between the two layers limits an attempt of the outer layer.
#[tokio::test(start_paused = true)]
async fn retry_without_time_for_a_second_attempt_leaves_the_call_to_the_outer_retry() {
    let slow = fixed(200 * MS);
    let hinted = throttled(RetryHint::After(200 * MS));
    for (hint, backoff) in [(false, slow), (true, NO_WAIT)] {
        let failed = Arc::new(AtomicBool::new(false));
        let (service, log) =
            scripted(
                move |_| {
                    if failed.swap(true, Ordering::Relaxed) { Ok(2) } else { Err("down".into()) }
                },
            );
        let inner = RetryLayer::new(3).backoff(backoff);
        let (handle, attempt) = (inner.handle(), DeadlineLayer::new(100 * MS));
        let call = if hint {
            let outer = RetryLayer::new(3).backoff(NO_WAIT).classify(hinted.clone());
            let inner = attempt.layer(inner.classify(hinted.clone()).layer(service));
            outer.layer(inner).oneshot(0).await
        } else {
            let outer = RetryLayer::new(3).backoff(slow);
            outer.layer(attempt.layer(inner.layer(service))).oneshot(0).await
        };
        assert_eq!(call.unwrap(), 2, "{hint}");
        assert_eq!(times(&log), [0, 200], "{hint}");
        let (late, told) = (StopReason::Deadline, StopReason::PushbackExceedsDeadline);
        assert_eq!(handle.stopped(if hint { told } else { late }), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_ends_the_wait_for_readiness_with_the_last_error() {
    /// A service that is ready once, and never again.
    #[derive(Clone)]
    struct Once(Arc<Mutex<u32>>);

    impl tower::Service<u32> for Once {
        type Response = u32;
        type Error = BoxError;
        type Future = std::future::Ready<Result<u32, BoxError>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), BoxError>> {
            let mut polls = self.0.lock().unwrap();
            *polls += 1;
            if *polls == 1 { std::task::Poll::Ready(Ok(())) } else { std::task::Poll::Pending }
        }

        fn call(&mut self, _: u32) -> Self::Future {
            std::future::ready(Err("down".into()))
        }
    }

    let budget = Budget::new(Ratio::ZERO, 1);
    let layer = RetryLayer::new(3).backoff(fixed(100 * MS)).budget(budget.clone());
    let start = Instant::now();
    let call = Deadline::after(1000 * MS).around(layer.layer(Once(Arc::default())).oneshot(0));
    assert_eq!(call.await.unwrap_err().to_string(), "down");
    assert_eq!(start.elapsed(), 1000 * MS);
    assert_eq!(layer.handle().stopped(StopReason::Deadline), 1);
    assert_eq!(layer.handle().retries(), 0);
    assert_eq!(budget.balance(), Some(10), "what was paid for the attempt is back");
}

#[tokio::test(start_paused = true)]
async fn attempt_does_not_begin_in_the_last_millisecond() {
    for (left, calls_made) in [(999_999, 1), (1_999_999, 2)] {
        let (service, log) = flaky(u32::MAX);
        let layer = RetryLayer::new(2).classify(never_processed);
        let left = std::time::Duration::from_nanos(left);
        Deadline::after(left).around(layer.layer(service).oneshot(0)).await.unwrap_err();
        assert_eq!(calls(&log), calls_made);
    }
}
