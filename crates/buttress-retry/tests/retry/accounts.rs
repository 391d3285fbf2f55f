//! A budget sees each call of a caller once and each outcome of the service once, whatever layers share it.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use buttress_core::{BoxError, Rejection, RetryHint, Verdict};
use buttress_deadline::DeadlineLayer;
use buttress_retry::{
    Backoff, Budget, Jitter, Ratio, RetryLayer, RetryThrottle, StopReason, TokenBucket,
};
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::common::{
    MS, NO_WAIT, SECOND, calls, flaky, never_processed, permanent, poll_once, rejected, scripted,
};

/// A token for each call, and none otherwise.
fn one_each() -> Budget {
    Budget::new(Ratio::percent(100), 0)
}

fn on(budget: &Budget) -> RetryLayer {
    RetryLayer::new(3).backoff(NO_WAIT).budget(budget.clone())
}

/// A call that its inner service gets later, from within the future.
#[derive(Clone)]
struct Queue<S>(S);

impl<S> Service<u32> for Queue<S>
where
    S: Service<u32, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move {
            sleep(10 * MS).await;
            inner.oneshot(request).await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn budget_counts_a_call_once_for_any_number_of_nested_layers() {
    let budget = one_each();
    let two = ServiceBuilder::new().layer(on(&budget)).layer(on(&budget));
    for _ in 0..40 {
        two.clone().layer(on(&budget)).service(flaky(0).0).oneshot(0).await.unwrap();
    }
    assert_eq!(budget.balance(), Some(40));
    two.service(flaky(0).0).oneshot(0).await.unwrap();
    assert_eq!(budget.balance(), Some(41));
}

#[tokio::test(start_paused = true)]
async fn budget_counts_a_call_once_when_another_budget_lies_between() {
    let (a, b) = (one_each(), one_each());
    let stack = ServiceBuilder::new().layer(on(&a)).layer(on(&b)).layer(on(&a));
    stack.service(flaky(0).0).oneshot(0).await.unwrap();
    assert_eq!((a.balance(), b.balance()), (Some(1), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn budget_counts_a_call_once_when_it_waits_in_a_queue_between_two_layers() {
    let budget = one_each();
    let inner = on(&budget).layer(flaky(0).0);
    on(&budget).layer(Queue(inner)).oneshot(0).await.unwrap();
    assert_eq!(budget.balance(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn outer_attempts_do_not_deposit_into_an_inner_budget() {
    let inner = one_each();
    let (service, log) = flaky(u32::MAX);
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(4).backoff(NO_WAIT).budget(Budget::unlimited()))
        .layer(on(&inner).classify(permanent))
        .service(service);
    stack.oneshot(0).await.unwrap_err();
    assert_eq!((calls(&log), inner.balance()), (4, Some(1)));
}

#[tokio::test(start_paused = true)]
async fn call_is_counted_when_a_later_attempt_reaches_the_inner_budget() {
    let inner = one_each();
    let counted = on(&inner).layer(flaky(0).0);
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(3).budget(Budget::unlimited()).classify(never_processed))
        .service_fn(move |request: u32| {
            let counted = counted.clone();
            async move {
                if buttress_core::Attempt::current().number() == 1 {
                    return Err(BoxError::from("refused"));
                }
                counted.oneshot(request).await
            }
        });
    stack.oneshot(0).await.unwrap();
    assert_eq!(inner.balance(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn panic_in_a_call_leaves_no_ambient_count_behind() {
    let budget = one_each();
    let panics = on(&budget).layer(service_fn(|_: u32| async {
        assert_eq!(1, 2, "on purpose");
        Ok::<u32, BoxError>(0)
    }));
    let caught = panics_when_polled(panics.oneshot(0));
    assert!(caught);
    on(&budget).layer(flaky(0).0).oneshot(0).await.unwrap();
    assert_eq!(budget.balance(), Some(2));
}

fn panics_when_polled(call: impl Future) -> bool {
    let mut call = Box::pin(call);
    let poll =
        AssertUnwindSafe(|| call.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())));
    std::panic::catch_unwind(poll).is_err()
}

#[tokio::test(start_paused = true)]
async fn grpc_throttle_counts_a_failure_once_for_nested_layers() {
    // Three calls by the innermost, of which all layers hand on the last.
    for nested in 1..=3 {
        let budget = Budget::throttle(RetryThrottle::new(100, Ratio::percent(10)));
        let (service, log) = flaky(u32::MAX);
        let error = match nested {
            1 => on(&budget).layer(service).oneshot(0).await,
            2 => on(&budget).layer(on(&budget).layer(service)).oneshot(0).await,
            _ => on(&budget).layer(on(&budget).layer(on(&budget).layer(service))).oneshot(0).await,
        };
        error.unwrap_err();
        assert_eq!((calls(&log), budget.balance()), (3, Some(97)), "{nested} layers");
    }
}

#[tokio::test(start_paused = true)]
async fn grpc_throttle_counts_a_failure_once_when_another_budget_lies_between() {
    let throttle = || Budget::throttle(RetryThrottle::new(100, Ratio::percent(10)));
    let (a, b) = (throttle(), throttle());
    let stack = ServiceBuilder::new().layer(on(&a)).layer(on(&b)).layer(on(&a));
    stack.service(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    assert_eq!((a.balance(), b.balance()), (Some(97), Some(99)));
}

#[tokio::test(start_paused = true)]
async fn budget_earns_a_success_once_for_nested_layers() {
    let throttle = Budget::throttle(RetryThrottle::new(100, Ratio::percent(100)));
    let tokens = Budget::tokens(TokenBucket::new(100));
    on(&throttle).layer(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    on(&tokens).layer(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    assert_eq!((throttle.balance(), tokens.balance()), (Some(97), Some(90)));
    for budget in [&throttle, &tokens] {
        on(budget).layer(on(budget).layer(flaky(0).0)).oneshot(0).await.unwrap();
    }
    assert_eq!((throttle.balance(), tokens.balance()), (Some(98), Some(91)));
}

#[tokio::test(start_paused = true)]
async fn aws_quota_refunds_a_retry_after_a_timeout_when_it_succeeds() {
    let budget = Budget::tokens(TokenBucket::new(100));
    let layer = on(&budget).classify(|outcome: Result<&u32, &BoxError>| match outcome {
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::TimedOut,
    });
    layer.layer(flaky(1).0).oneshot(0).await.unwrap();
    assert_eq!(budget.balance(), Some(100));
}

#[tokio::test(start_paused = true)]
async fn withdraw_only_layer_earns_nothing_and_pays_for_its_retries() {
    let budget = one_each();
    let spender = on(&budget.withdraw_only());
    for _ in 0..5 {
        spender.layer(flaky(0).0).oneshot(0).await.unwrap();
    }
    assert_eq!(budget.balance(), Some(0));
    on(&budget).layer(flaky(0).0).oneshot(0).await.unwrap();
    let (service, log) = flaky(u32::MAX);
    spender.layer(service).oneshot(0).await.unwrap_err();
    assert_eq!((calls(&log), budget.balance()), (2, Some(0)));
    // One that deposits counts the calls of one around it that does not.
    spender.layer(on(&budget).layer(flaky(0).0)).oneshot(0).await.unwrap();
    assert_eq!(budget.balance(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn withdraw_only_throttle_counts_failures_and_earns_nothing() {
    let budget = Budget::throttle(RetryThrottle::new(100, Ratio::percent(100)));
    let spender = on(&budget.withdraw_only());
    spender.layer(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    spender.layer(flaky(0).0).oneshot(0).await.unwrap();
    assert_eq!(budget.balance(), Some(97));
    on(&budget).layer(flaky(0).0).oneshot(0).await.unwrap();
    assert_eq!(budget.balance(), Some(98));
}

#[tokio::test(start_paused = true)]
async fn budget_counts_a_call_on_each_side_of_a_spawned_task() {
    // The limit that the docs name.
    let budget = one_each();
    let inner = on(&budget).layer(flaky(0).0);
    let stack = on(&budget).layer(service_fn(move |request: u32| {
        let call = tokio::spawn(inner.clone().oneshot(request));
        async move { call.await.map_err(BoxError::from)? }
    }));
    stack.oneshot(0).await.unwrap();
    assert_eq!(budget.balance(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn refund_is_dated_to_the_time_of_the_payment() {
    let budget = Budget::new(Ratio::ZERO, 1);
    let patient = RetryLayer::new(2)
        .backoff(Backoff::constant(60 * SECOND).jitter(Jitter::None))
        .budget(budget.clone());
    let mut waiting: Vec<_> =
        (0..5).map(|_| Box::pin(patient.layer(flaky(u32::MAX).0).oneshot(0))).collect();
    for call in &mut waiting {
        assert!(poll_once(call.as_mut()).await.is_pending());
    }
    sleep(9 * SECOND).await;
    let quick = RetryLayer::new(2).backoff(NO_WAIT).budget(budget.clone());
    for _ in 0..5 {
        quick.layer(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    }
    drop(waiting);
    sleep(2 * SECOND).await;
    for _ in 0..10 {
        quick.layer(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    }
    // Of a reserve of ten for ten seconds, five were used two seconds ago.
    assert_eq!(quick.handle().retries(), 10);
}

#[tokio::test(start_paused = true)]
async fn aws_quota_does_not_refund_a_retry_that_a_full_bucket_made_good() {
    let budget = Budget::tokens(TokenBucket::new(10).costs(10, 10).refill_per_second(1.0));
    let waiting = RetryLayer::new(2)
        .backoff(Backoff::constant(600 * SECOND).jitter(Jitter::None))
        .budget(budget.clone());
    let mut waiting = Box::pin(waiting.layer(flaky(u32::MAX).0).oneshot(0));
    assert!(poll_once(waiting.as_mut()).await.is_pending());
    sleep(60 * SECOND).await;
    let quick = RetryLayer::new(2).backoff(NO_WAIT).budget(budget.clone());
    quick.layer(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    drop(waiting);
    assert_eq!((quick.handle().retries(), budget.balance()), (1, Some(0)));
}

#[tokio::test(start_paused = true)]
async fn calls_before_an_idle_hour_earn_no_retries() {
    let budget = one_each();
    let layer = RetryLayer::new(100).backoff(NO_WAIT).budget(budget.clone());
    for before in 1..=40 {
        for _ in 0..before {
            layer.layer(flaky(0).0).oneshot(0).await.unwrap();
        }
        sleep(3600 * SECOND).await;
        let retries = layer.handle().retries();
        layer.layer(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
        let bought = layer.handle().retries() - retries;
        assert!(bought <= 1, "{bought} retries for one call");
        sleep(60 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn slow_calls_all_count_within_the_window() {
    let budget = one_each();
    let layer = on(&budget);
    for _ in 0..100 {
        sleep(SECOND).await;
        layer.layer(flaky(0).0).oneshot(0).await.unwrap();
    }
    // The window is ten seconds and up to a third of one.
    assert_eq!(budget.balance(), Some(11));
    let (service, log) = scripted(|_| Err("down".into()));
    on(&budget).layer(service).oneshot(0).await.unwrap_err();
    assert_eq!(calls(&log), 3);
}

/// A limiter below asks each second attempt to wait, and then lets it through to a service that is down.
#[tokio::test(start_paused = true)]
async fn retry_that_a_limiter_delays_is_paid_for_once() {
    let quota = |tokens| TokenBucket::new(tokens).costs(1, 1);
    for budget in [Budget::over(SECOND * 60, Ratio::ZERO, 1), Budget::tokens(quota(60))] {
        let layer = RetryLayer::new(2).backoff(NO_WAIT).budget(budget.clone());
        let mut reached = 0;
        for _ in 0..100 {
            let asked = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&asked);
            let (service, _) = scripted(move |_| match count.fetch_add(1, Ordering::Relaxed) {
                1 => Err(rejected(MS)),
                _ => Err("down".into()),
            });
            layer.layer(service).oneshot(0).await.unwrap_err();
            reached += asked.load(Ordering::Relaxed).saturating_sub(2);
        }
        assert_eq!((reached, budget.balance()), (60, Some(0)));
        assert_eq!(layer.handle().stopped(StopReason::BudgetEmpty), 40);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_dropped_while_a_limiter_delays_it_is_refunded() {
    let budget = Budget::over(SECOND * 60, Ratio::ZERO, 1);
    let layer = RetryLayer::new(2).backoff(NO_WAIT).budget(budget.clone());
    let (service, log) = scripted(|attempt| match attempt {
        1 => Err("down".into()),
        _ => Err(rejected(SECOND)),
    });
    let mut call = Box::pin(layer.layer(service).oneshot(0));
    assert!(timeout(100 * MS, call.as_mut()).await.is_err());
    assert_eq!((calls(&log), budget.balance()), (2, Some(59)));
    drop(call);
    assert_eq!(budget.balance(), Some(60));
}

/// The inner layer reached the service before it met a limiter.
#[tokio::test(start_paused = true)]
async fn retry_within_which_an_inner_retry_gave_up_is_not_refunded() {
    let budget = Budget::over(SECOND * 60, Ratio::ZERO, 1);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (service, _) = scripted(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Err("hinted".into()),
        1 => Err("down".into()),
        _ => Err(rejected(MS)),
    });
    let by_text = |outcome: Result<&u32, &BoxError>| match outcome {
        Ok(_) => Verdict::Success,
        Err(error) if error.to_string() == "hinted" => {
            Verdict::Throttled(Some(RetryHint::After(200 * MS)))
        }
        Err(error) => Rejection::find(error).map_or(Verdict::Transient, Verdict::from_rejection),
    };
    let stack = ServiceBuilder::new()
        .layer(on(&budget).classify(by_text))
        .layer(DeadlineLayer::new(100 * MS))
        .layer(on(&budget).classify(by_text));
    stack.service(service).oneshot(0).await.unwrap_err();
    assert_eq!((asked.load(Ordering::Relaxed), budget.balance()), (4, Some(59)));
}
