//! Fixtures of the tests of the layer.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use buttress_core::{Attempt, BoxError, Origin, Reason, Rejection, RetryHint, Verdict};
use buttress_retry::{Backoff, Budget, Jitter, RetryLayer};
use tokio::time::Instant;
use tower::{Service, service_fn};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const NO_WAIT: Backoff = Backoff::none();

/// A backoff of exactly `delay`.
pub(crate) const fn fixed(delay: Duration) -> Backoff {
    Backoff::constant(delay).jitter(Jitter::None)
}

/// A layer of three attempts without delay that draws on `budget`.
pub(crate) fn on(budget: &Budget) -> RetryLayer {
    RetryLayer::new(3).backoff(NO_WAIT).budget(budget.clone())
}

/// The time and the attempt of each call to a service.
pub(crate) type Log = Arc<Mutex<Vec<(Duration, u32)>>>;

/// A service that fails `failures` times and then returns the number of the attempt, and its log.
pub(crate) fn flaky(
    failures: u32,
) -> (impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone, Log) {
    scripted(move |attempt| {
        if attempt <= failures { Err(format!("failure {attempt}").into()) } else { Ok(attempt) }
    })
}

/// A service that returns `answer` of the attempt's number, and its log.
pub(crate) fn scripted(
    answer: impl Fn(u32) -> Result<u32, BoxError> + Clone,
) -> (impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone, Log) {
    let log = Log::default();
    let (seen, start) = (Arc::clone(&log), Instant::now());
    let service = service_fn(move |_: u32| {
        let attempt = Attempt::current().number();
        seen.lock().unwrap().push((start.elapsed(), attempt));
        let answer = answer(attempt);
        async { answer }
    });
    (service, log)
}

pub(crate) fn calls(log: &Log) -> usize {
    log.lock().unwrap().len()
}

pub(crate) fn times(log: &Log) -> Vec<u128> {
    log.lock().unwrap().iter().map(|(at, _)| at.as_millis()).collect()
}

/// Judges every failure as throttled with this hint.
pub(crate) fn throttled(hint: RetryHint) -> impl Fn(Result<&u32, &BoxError>) -> Verdict + Clone {
    move |outcome| match outcome {
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Throttled(Some(hint)),
    }
}

pub(crate) fn never_processed(outcome: Result<&u32, &BoxError>) -> Verdict {
    if outcome.is_ok() { Verdict::Success } else { Verdict::NeverProcessed }
}

pub(crate) fn permanent(outcome: Result<&u32, &BoxError>) -> Verdict {
    if outcome.is_ok() { Verdict::Success } else { Verdict::Permanent }
}

/// The rejection of a limiter that names a time.
pub(crate) fn rejected(retry_after: Duration) -> BoxError {
    Rejection::new(Reason::RateLimited, Origin::new("throttle")).after(retry_after).into()
}

pub(crate) async fn poll_once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}
