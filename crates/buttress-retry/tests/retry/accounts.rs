//! A budget counts each call and each outcome once, for any number of layers that share the budget.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::{BoxError, Verdict};
use buttress_retry::{Budget, Ratio, RetryLayer, RetryThrottle, TokenBucket};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{MS, NO_WAIT, SECOND, calls, flaky, never_processed, on, permanent, scripted};

/// A budget of a token for each call, without a reserve.
fn one_each() -> Budget {
    Budget::new(Ratio::percent(100), 0)
}

/// A service that calls the inner service later, from within its future.
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
    assert_eq!(a.balance(), Some(1));
    assert_eq!(b.balance(), Some(1));
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
    assert_eq!(calls(&log), 4);
    assert_eq!(inner.balance(), Some(1));
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
    // The innermost layer makes three calls. All layers return the last outcome.
    for nested in 1..=3 {
        let budget = Budget::throttle(RetryThrottle::new(100, Ratio::percent(10)));
        let (service, log) = flaky(u32::MAX);
        let error = match nested {
            1 => on(&budget).layer(service).oneshot(0).await,
            2 => on(&budget).layer(on(&budget).layer(service)).oneshot(0).await,
            _ => on(&budget).layer(on(&budget).layer(on(&budget).layer(service))).oneshot(0).await,
        };
        error.unwrap_err();
        assert_eq!(calls(&log), 3, "{nested} layers");
        assert_eq!(budget.balance(), Some(97), "{nested} layers");
    }
}

#[tokio::test(start_paused = true)]
async fn grpc_throttle_counts_a_failure_once_when_another_budget_lies_between() {
    let throttle = || Budget::throttle(RetryThrottle::new(100, Ratio::percent(10)));
    let (a, b) = (throttle(), throttle());
    let stack = ServiceBuilder::new().layer(on(&a)).layer(on(&b)).layer(on(&a));
    stack.service(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    assert_eq!(a.balance(), Some(97));
    assert_eq!(b.balance(), Some(99));
}

#[tokio::test(start_paused = true)]
async fn budget_earns_a_success_once_for_nested_layers() {
    let throttle = Budget::throttle(RetryThrottle::new(100, Ratio::percent(100)));
    let tokens = Budget::tokens(TokenBucket::new(100));
    on(&throttle).layer(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    on(&tokens).layer(flaky(u32::MAX).0).oneshot(0).await.unwrap_err();
    assert_eq!(throttle.balance(), Some(97));
    assert_eq!(tokens.balance(), Some(90));
    for budget in [&throttle, &tokens] {
        on(budget).layer(on(budget).layer(flaky(0).0)).oneshot(0).await.unwrap();
    }
    assert_eq!(throttle.balance(), Some(98));
    assert_eq!(tokens.balance(), Some(91));
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
    assert_eq!(calls(&log), 2);
    assert_eq!(budget.balance(), Some(0));
    // A layer that deposits counts the calls of an outer layer that only withdraws.
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
    // The docs of `Budget` name this limit.
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
    // The window is 10 s and up to a third of a second.
    assert_eq!(budget.balance(), Some(11));
    let (service, log) = scripted(|_| Err("down".into()));
    on(&budget).layer(service).oneshot(0).await.unwrap_err();
    assert_eq!(calls(&log), 3);
}
