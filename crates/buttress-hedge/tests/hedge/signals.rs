//! Signals beside an outcome that another poll produced.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{Attempt, BoxError, Deadline, SharedCount, Signals, Spent};
use buttress_hedge::{Budget, HedgeLayer};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{MS, SECOND, hedging};

/// The outcome of a call, with the signals of the poll that returned it.
async fn with_signals<F: Future>(call: F) -> (F::Output, Signals) {
    let mut call = pin!(call);
    std::future::poll_fn(|cx: &mut Context<'_>| {
        let call: Pin<&mut F> = call.as_mut();
        match Signals::watch(|| call.poll(cx)) {
            (Poll::Ready(outcome), signals) => Poll::Ready((outcome, signals)),
            (Poll::Pending, signals) => {
                assert!(signals.is_empty(), "a pending poll raises nothing: {signals:?}");
                Poll::Pending
            }
        }
    })
    .await
}

/// A service whose first try ends after `first` and whose hedge ends after `hedge`. Each raises its
/// own signals. A try fails unless it `succeeds`.
async fn call(
    layer: HedgeLayer,
    first: Duration,
    hedge: Duration,
    succeeds: fn(Attempt) -> bool,
) -> (Result<u32, BoxError>, Signals) {
    let service = service_fn(move |_: u32| async move {
        let attempt = Attempt::current();
        if attempt.is_spare() {
            sleep(hedge).await;
            Signals::raise_degraded();
            Signals::raise_spent(Spent::new(2, 0));
        } else {
            sleep(first).await;
            Signals::raise_deadline(mark());
            Signals::raise_spent(Spent::new(10, 0));
        }
        if succeeds(attempt) { Ok(attempt.number()) } else { Err("failed".into()) }
    });
    with_signals(layer.layer(service).oneshot(0)).await
}

fn mark() -> Deadline {
    Deadline::at(Instant::now() + 1000 * SECOND)
}

#[tokio::test(start_paused = true)]
async fn outcome_without_a_hedge_keeps_its_signals() {
    for layer in [hedging(SECOND), hedging(SECOND).after_failures()] {
        let (outcome, signals) = call(layer, 30 * MS, SECOND, |_| true).await;
        assert_eq!(outcome.unwrap(), 1);
        assert!(signals.deadline.is_some() && !signals.degraded);
        assert_eq!(signals.spent, Spent::new(10, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn winning_hedge_keeps_its_signals_and_adds_itself() {
    let (outcome, signals) = call(hedging(50 * MS), SECOND, 30 * MS, Attempt::is_spare).await;
    assert_eq!(outcome.unwrap(), 2);
    assert!(signals.deadline.is_none() && signals.degraded);
    assert_eq!(signals.spent, Spent::new(2, 1), "the first try was dropped, and reported nothing");
}

#[tokio::test(start_paused = true)]
async fn calls_below_a_failed_try_are_part_of_the_sum() {
    let (outcome, signals) = call(hedging(50 * MS), 60 * MS, 30 * MS, Attempt::is_spare).await;
    assert_eq!(outcome.unwrap(), 2);
    assert!(signals.deadline.is_none() && signals.degraded);
    assert_eq!(signals.spent, Spent::new(12, 1));
}

#[tokio::test(start_paused = true)]
async fn failure_of_the_first_try_is_returned_with_its_signals() {
    let (outcome, signals) = call(hedging(50 * MS), 60 * MS, SECOND, |_| false).await;
    assert!(outcome.is_err());
    assert!(signals.deadline.is_some() && !signals.degraded);
    assert_eq!(signals.spent, Spent::new(12, 1));
}

#[tokio::test(start_paused = true)]
async fn refused_hedge_counts_as_no_call() {
    use crate::support::{rejection, script};
    let refused = rejection(buttress_core::Reason::Overloaded);
    let upstream = script().delay(SECOND).ok(1).reject(refused).service();
    let (_, signals) = with_signals(hedging(50 * MS).layer(upstream).oneshot(1)).await;
    assert!(signals.is_empty(), "{signals:?}");
}

#[tokio::test(start_paused = true)]
async fn observed_hedge_counts_as_no_call() {
    let layer = HedgeLayer::after(50 * MS).budget(Budget::unlimited()).observe();
    let (_, signals) = call(layer.clone(), SECOND, SECOND, |_| true).await;
    assert_eq!(signals.spent, Spent::new(10, 0));
    assert_eq!(layer.handle().sent(), 1);
}

/// A try whose drop makes a call of its own.
struct CallingDrop<F>(Pin<Box<F>>);

impl<F: Future> Future for CallingDrop<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<F> Drop for CallingDrop<F> {
    fn drop(&mut self) {
        SharedCount::new().run(Attempt::FIRST, || Signals::raise_spent(Spent::new(100, 0)));
    }
}

#[tokio::test(start_paused = true)]
async fn drop_of_a_hedge_that_makes_a_call_leaves_the_signals_of_the_hedge_alone() {
    let service = service_fn(|_: u32| {
        CallingDrop(Box::pin(async {
            if !Attempt::current().is_spare() {
                std::future::pending::<()>().await;
            }
            Signals::raise_spent(Spent::new(2, 0));
            Ok::<_, BoxError>(1)
        }))
    });
    let (_, signals) = with_signals(hedging(50 * MS).layer(service).oneshot(0)).await;
    assert_eq!(signals.spent, Spent::new(2, 1));
}
