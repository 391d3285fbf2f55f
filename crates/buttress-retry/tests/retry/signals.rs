//! The signals of the layers below, and those of the retry itself, reach the layers outside.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{BoxError, Deadline, Signals, Spent, Verdict};
use buttress_retry::RetryLayer;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{MS, NO_WAIT, SECOND, fixed, permanent};

type Outcome = Result<u32, BoxError>;

/// The outcome of a call, and the signals of the poll that returned it.
async fn watched(call: impl Future<Output = Outcome>) -> (Outcome, Signals) {
    let mut call = pin!(call);
    poll_fn(|cx| {
        let (polled, signals) = Signals::watch(|| call.as_mut().poll(cx));
        polled.map(|outcome| (outcome, signals))
    })
    .await
}

/// A service that runs `answer` with the number of the attempt in the poll of its outcome, after a
/// millisecond.
fn signalling(
    answer: fn(u32) -> Outcome,
) -> impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone {
    let calls = Arc::new(AtomicU32::new(0));
    service_fn(move |_: u32| {
        let attempt = calls.fetch_add(1, SeqCst) + 1;
        async move {
            tokio::time::sleep(MS).await;
            answer(attempt)
        }
    })
}

fn third_succeeds(attempt: u32) -> Outcome {
    if attempt < 3 { Err("down".into()) } else { Ok(attempt) }
}

#[tokio::test(start_paused = true)]
async fn outer_layer_sees_the_retries_of_a_successful_call() {
    for layer in [RetryLayer::new(3).backoff(NO_WAIT), RetryLayer::new(3).backoff(fixed(SECOND))] {
        let (outcome, signals) = watched(layer.layer(signalling(third_succeeds)).oneshot(0)).await;
        assert_eq!(outcome.unwrap(), 3);
        assert_eq!(signals.spent, Spent::new(2, 0));
        assert!(!signals.gave_up && !signals.degraded && signals.deadline.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn outer_layer_sees_the_retries_of_a_call_that_gives_up() {
    let layer = RetryLayer::new(2).backoff(NO_WAIT);
    let (outcome, signals) = watched(layer.layer(signalling(third_succeeds)).oneshot(0)).await;
    outcome.unwrap_err();
    assert_eq!((signals.spent, signals.gave_up), (Spent::new(1, 0), true));
}

#[tokio::test(start_paused = true)]
async fn call_of_one_attempt_raises_no_signal() {
    let layer = RetryLayer::new(3);
    let (outcome, signals) = watched(layer.layer(signalling(Ok)).oneshot(0)).await;
    assert_eq!(outcome.unwrap(), 1);
    assert!(signals.is_empty(), "{signals:?}");
    let layer = layer.classify(permanent);
    let (outcome, signals) = watched(layer.layer(signalling(third_succeeds)).oneshot(0)).await;
    outcome.unwrap_err();
    assert!(signals.is_empty(), "{signals:?}");
}

#[tokio::test(start_paused = true)]
async fn spent_calls_below_add_up_over_all_attempts() {
    let service = signalling(|attempt| {
        Signals::raise_spent(Spent::new(10, 1));
        third_succeeds(attempt)
    });
    let layer = RetryLayer::new(3).backoff(NO_WAIT);
    let (_, signals) = watched(layer.layer(service.clone()).oneshot(0)).await;
    assert_eq!(signals.spent, Spent::new(32, 3));
    let ((), again) = Signals::watch(|| {});
    assert!(again.is_empty(), "nothing stays behind");
}

#[tokio::test(start_paused = true)]
async fn signals_of_a_repeated_attempt_do_not_stand_for_the_returned_outcome() {
    let service = signalling(|attempt| {
        if attempt < 3 {
            Signals::raise_degraded();
            Signals::raise_deadline(Deadline::after(SECOND));
        }
        third_succeeds(attempt)
    });
    let layer = RetryLayer::new(3).backoff(NO_WAIT);
    let (outcome, signals) = watched(layer.layer(service).oneshot(0)).await;
    assert_eq!(outcome.unwrap(), 3);
    assert!(!signals.degraded && signals.deadline.is_none(), "{signals:?}");
}

#[tokio::test(start_paused = true)]
async fn signals_of_the_returned_outcome_pass_through() {
    let service = signalling(|attempt| {
        if attempt == 3 {
            Signals::raise_degraded();
            Signals::raise_deadline(Deadline::after(SECOND));
        }
        Err(BoxError::from("down"))
    });
    let layer = RetryLayer::new(3).backoff(NO_WAIT);
    let (outcome, signals) = watched(layer.layer(service).oneshot(0)).await;
    outcome.unwrap_err();
    assert!(signals.degraded && signals.gave_up);
    assert_eq!(signals.deadline, Some(Deadline::after(SECOND)));

    let success = signalling(|attempt| {
        Signals::raise_degraded();
        Ok(attempt)
    });
    let (_, signals) = watched(layer.layer(success).oneshot(0)).await;
    assert!(signals.degraded && signals.spent.is_zero());
}

#[tokio::test(start_paused = true)]
async fn observing_retry_passes_signals_on_and_spends_nothing() {
    let service = signalling(|_| {
        Signals::raise_degraded();
        Err(BoxError::from("down"))
    });
    let layer = RetryLayer::new(3).backoff(NO_WAIT).observe();
    let (outcome, signals) = watched(layer.layer(service).oneshot(0)).await;
    outcome.unwrap_err();
    assert!(signals.degraded && signals.spent.is_zero() && !signals.gave_up);
}

/// A service that is ready once. Its readiness then fails, or never comes, as `later` says.
#[derive(Clone)]
struct ReadyOnce {
    inner: Arc<AtomicU32>,
    later: fn() -> Poll<Result<(), BoxError>>,
}

impl Service<u32> for ReadyOnce {
    type Response = u32;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Outcome> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.inner.load(SeqCst) == 0 { Poll::Ready(Ok(())) } else { (self.later)() }
    }

    fn call(&mut self, _: u32) -> Self::Future {
        self.inner.fetch_add(1, SeqCst);
        Box::pin(async {
            Signals::raise_degraded();
            Signals::raise_spent(Spent::new(0, 1));
            Err("down".into())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn outcome_that_was_kept_over_a_wait_keeps_its_signals() {
    let service = ReadyOnce { inner: Arc::default(), later: || Poll::Pending };
    let layer = RetryLayer::new(3).backoff(fixed(10 * MS));
    let started = tokio::time::Instant::now();
    let mut service = layer.layer(service);
    let deadline = Deadline::after(SECOND);
    let call = Deadline::with(Some(deadline), || service.call(0));
    let (outcome, signals) = watched(call).await;
    assert_eq!(outcome.unwrap_err().to_string(), "down");
    assert!(started.elapsed() >= Duration::from_millis(990), "{:?}", started.elapsed());
    assert!(signals.degraded);
    assert_eq!(signals.spent, Spent::new(0, 1), "the second attempt never began");
}

#[tokio::test(start_paused = true)]
async fn signals_of_failed_readiness_reach_the_outer_layer() {
    let service = ReadyOnce {
        inner: Arc::default(),
        later: || {
            Signals::raise_deadline(Deadline::after(SECOND));
            Poll::Ready(Err("unready".into()))
        },
    };
    let by_text = |outcome: Result<&u32, &BoxError>| match outcome {
        Err(error) if error.to_string() == "unready" => Verdict::Permanent,
        _ => Verdict::Transient,
    };
    let layer = RetryLayer::new(3).backoff(NO_WAIT).classify(by_text);
    let (outcome, signals) = watched(layer.layer(service).call(0)).await;
    assert_eq!(outcome.unwrap_err().to_string(), "unready");
    assert_eq!(signals.deadline, Some(Deadline::after(SECOND)));
    assert!(!signals.degraded, "a signal of the first attempt");
    assert_eq!(signals.spent.hedges, 1);
}
