//! What a service that is not ready again means to a call and to its budget.

use std::{
    collections::VecDeque,
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::BoxError;
use buttress_retry::{Backoff, Budget, Ratio, RetryLayer, Stop};
use tokio::time::timeout;
use tower::{Layer, Service, ServiceExt};

use super::common::{MS, NO_WAIT, SECOND, rejected};

/// Is ready as the script says, and always after it; each call fails.
#[derive(Clone)]
struct Failing {
    readiness: Arc<Mutex<VecDeque<Result<(), BoxError>>>>,
    then: fn() -> Result<(), BoxError>,
    calls: Arc<AtomicUsize>,
}

impl Failing {
    fn new(
        readiness: impl IntoIterator<Item = Result<(), BoxError>>,
        then: fn() -> Result<(), BoxError>,
    ) -> Self {
        let readiness = Arc::new(Mutex::new(readiness.into_iter().collect()));
        Self { readiness, then, calls: Arc::default() }
    }
}

impl Service<u32> for Failing {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let next = self.readiness.lock().unwrap().pop_front();
        Poll::Ready(next.unwrap_or_else(self.then))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        ready(Err("failed".into()))
    }
}

#[tokio::test(start_paused = true)]
async fn failures_of_readiness_use_up_the_attempts() {
    let service = Failing::new([Ok(())], || Err("not ready".into()));
    let calls = Arc::clone(&service.calls);
    let backoff = Backoff::constant(MS);
    let layer = RetryLayer::new(3).backoff(backoff).budget(Budget::unlimited());
    let call = layer.layer(service).oneshot(0);
    let error = timeout(SECOND, call).await.expect("it ends").unwrap_err();
    assert_eq!(error.to_string(), "not ready");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(layer.handle().stopped(Stop::AttemptsUsed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_while_getting_ready_pays_back_no_attempt_before_it() {
    // The second attempt reaches the service. The third gets no further than a limiter, once.
    let busy = Err(rejected(10 * MS));
    let service = Failing::new([Ok(()), Ok(()), busy], || Ok(()));
    let calls = Arc::clone(&service.calls);
    let budget = Budget::over(Duration::from_secs(60), Ratio::ZERO, 1);
    let before = budget.balance().unwrap();
    let layer = RetryLayer::new(3).backoff(NO_WAIT).budget(budget.clone());
    assert!(layer.layer(service).oneshot(0).await.is_err());
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    assert_eq!(before - budget.balance().unwrap(), 2, "both repetitions are paid for");
    assert_eq!(layer.handle().stopped(Stop::AttemptsUsed), 1);
}
