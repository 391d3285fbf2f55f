//! The gave-up signal of a retry inside the flight reaches each caller's retry outside.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use buttress_core::Signals;
use buttress_dedup::DedupLayer;
use buttress_retry::{Budget, Ratio, RetryLayer};
use futures_util::future::join_all;
use tokio::time::advance;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Failure, failing, ms, outcome, taking, waiting};

#[tokio::test(start_paused = true)]
async fn three_attempts_inside_and_outside_make_three_calls() {
    let upstream = failing(ms(5));
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(3).classify(transient))
        .layer(DedupLayer::new())
        .layer(RetryLayer::new(3).classify(transient))
        .service(upstream.clone());
    assert_eq!(stack.oneshot(1).await, Err(Failure::Down(3)));
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn nested_retries_make_three_calls_for_all_callers_of_a_shared_error() {
    let upstream = failing(ms(5));
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(3).classify(transient))
        .layer(DedupLayer::new().share_errors())
        .layer(RetryLayer::new(3).classify(transient))
        .service(upstream.clone());
    let all = join_all((0..4).map(|_| stack.clone().oneshot(1))).await;
    assert_eq!(all, [3; 4].map(|n| Err(Failure::Down(n))));
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn nested_retries_make_three_calls_for_each_unshared_error() {
    let upstream = failing(ms(5));
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(3).classify(transient))
        .layer(DedupLayer::new())
        .layer(RetryLayer::new(3).classify(transient))
        .service(upstream.clone());
    let mut all = join_all((0..4).map(|_| stack.clone().oneshot(1))).await;
    all.sort_by_key(|error| format!("{error:?}").len() * 100 + number(error));
    assert_eq!(all, [3, 6, 9, 12].map(|n| Err(Failure::Down(n))));
    assert_eq!(upstream.calls(), 12);
}

#[tokio::test(start_paused = true)]
async fn gave_up_signal_belongs_to_the_returned_outcome() {
    let calls = AtomicUsize::new(0);
    // The first flight gives up, the second fails at once, and a third would succeed.
    let work = service_fn(move |_: u32| {
        let number = calls.fetch_add(1, SeqCst) + 1;
        async move {
            if number == 1 {
                tokio::time::sleep(ms(50)).await;
                Signals::raise_gave_up();
            }
            if number < 3 { Err(Failure::Down(number)) } else { Ok(number) }
        }
    });
    let calls = std::sync::Arc::new(std::sync::Mutex::new(work));
    let shared = service_fn(move |n| {
        let mut work = calls.lock().unwrap();
        tower_service::Service::call(&mut *work, n)
    });
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(3).classify(transient))
        .layer(DedupLayer::new())
        .service(shared);
    let (leader, follower) = (waiting(&stack, 1), waiting(&stack, 1));
    advance(ms(50)).await;
    assert_eq!(outcome(leader), Err(Failure::Down(1)));
    assert_eq!(follower.await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn gave_up_signal_does_not_stay_with_the_driver() {
    let layer = DedupLayer::new();
    let work = |_: u32| async {
        tokio::time::sleep(ms(50)).await;
        Signals::raise_gave_up();
        Err::<u32, _>(Failure::Down(1))
    };
    let service = layer.layer(service_fn(work));
    let (mut first, mut second) = (waiting(&service, 1), waiting(&service, 1));
    advance(ms(50)).await;
    // The second caller drives, and restarts. The error goes to the first.
    let (polled, signals) = Signals::watch(|| second.poll());
    assert!(polled.is_pending() && !signals.gave_up);
    let (polled, signals) = Signals::watch(|| first.poll());
    assert!(polled.is_ready() && signals.gave_up);
}

fn transient<Res>(outcome: Result<&Res, &Failure>) -> buttress_core::Verdict {
    match outcome {
        Ok(_) => buttress_core::Verdict::Success,
        Err(_) => buttress_core::Verdict::Transient,
    }
}

fn number(outcome: &Result<usize, Failure>) -> usize {
    match outcome {
        Err(Failure::Down(number)) => *number,
        _ => 0,
    }
}

#[tokio::test(start_paused = true)]
async fn retry_budget_on_both_sides_counts_each_caller_once() {
    let budget = Budget::new(Ratio::percent(100), 0);
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(3).budget(budget.clone()).classify(transient))
        .layer(DedupLayer::new())
        .layer(RetryLayer::new(3).budget(budget.clone()).classify(transient))
        .service(taking(ms(5)));
    join_all((0..4).map(|_| stack.clone().oneshot(1))).await;
    assert_eq!(budget.balance(), Some(4));
}
