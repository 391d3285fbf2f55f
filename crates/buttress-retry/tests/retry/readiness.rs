//! Readiness of later attempts: waits, failures, and the budget.

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

use buttress_core::{BoxError, Deadline, Rejection, Verdict};
use buttress_retry::{Backoff, Budget, Ratio, RetryLayer, StopReason};
use proptest::prelude::*;
use tokio::time::{Instant, timeout};
use tower::{Layer, Service, ServiceExt};

use super::support::{MS, NO_WAIT, SECOND, rejected};

/// A service whose readiness follows a script, then `then`. Each call fails.
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
async fn readiness_failures_use_up_the_attempts() {
    let service = Failing::new([Ok(())], || Err("not ready".into()));
    let calls = Arc::clone(&service.calls);
    let backoff = Backoff::constant(MS);
    let layer = RetryLayer::new(3).backoff(backoff).budget(Budget::unlimited());
    let call = layer.layer(service).oneshot(0);
    let error = timeout(SECOND, call).await.expect("it ends").unwrap_err();
    assert_eq!(error.to_string(), "not ready");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(layer.handle().stopped(StopReason::AttemptsUsed), 1);
}

/// A service that fails its first call, and is never ready again.
#[derive(Clone, Default)]
struct ReadyOnce(Arc<AtomicUsize>);

impl Service<u32> for ReadyOnce {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.0.load(Ordering::Relaxed) > 0 { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, _: u32) -> Self::Future {
        self.0.fetch_add(1, Ordering::Relaxed);
        ready(Err("failed".into()))
    }
}

#[tokio::test(start_paused = true)]
async fn failed_call_waits_for_readiness_until_its_deadline_or_for_60_s_without_one() {
    let cases = [
        (None, 60, StopReason::NotReady),
        (Some(90), 90, StopReason::Deadline),
        (Some(20), 20, StopReason::Deadline),
    ];
    for (deadline, waited, reason) in cases {
        let budget = Budget::over(600 * SECOND, Ratio::ZERO, 5);
        let balance = budget.balance();
        let layer = RetryLayer::new(3).backoff(NO_WAIT).budget(budget.clone());
        let (service, start) = (ReadyOnce::default(), Instant::now());
        let mut retry = layer.layer(service.clone());
        retry.ready().await.unwrap();
        let deadline = deadline.map(|seconds| Deadline::after(seconds * SECOND));
        let call = Deadline::with(deadline, || retry.call(0));
        let outcome = timeout(600 * SECOND, call).await.expect("the wait has an end");
        assert_eq!(outcome.unwrap_err().to_string(), "failed");
        assert_eq!(start.elapsed().as_secs(), waited);
        assert_eq!((layer.handle().stopped(reason), layer.handle().retries()), (1, 0));
        assert_eq!(budget.balance(), balance);
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_in_readiness_refunds_no_earlier_attempt() {
    // The second attempt reaches the service. A limiter rejects the third once.
    let busy = Err(rejected(10 * MS));
    let service = Failing::new([Ok(()), Ok(()), busy], || Ok(()));
    let calls = Arc::clone(&service.calls);
    let budget = Budget::over(Duration::from_secs(60), Ratio::ZERO, 1);
    let before = budget.balance().unwrap();
    let layer = RetryLayer::new(3).backoff(NO_WAIT).budget(budget.clone());
    assert!(layer.layer(service).oneshot(0).await.is_err());
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    assert_eq!(before - budget.balance().unwrap(), 2, "both repetitions are paid for");
    assert_eq!(layer.handle().stopped(StopReason::AttemptsUsed), 1);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass,
    Fail,
    Refuse,
    Reject,
}

/// A service whose readiness and calls follow scripts, and then pass.
#[derive(Clone)]
struct Scripted {
    readiness: Script,
    calls: Script,
    seen: Arc<Mutex<Vec<Step>>>,
}

type Script = Arc<Mutex<VecDeque<Step>>>;

fn outcome(step: Step) -> Result<(), BoxError> {
    match step {
        Step::Pass => Ok(()),
        Step::Fail => Err("failed".into()),
        Step::Refuse => Err("refused".into()),
        Step::Reject => Err(rejected(3 * MS)),
    }
}

fn next(script: &Script) -> Step {
    script.lock().unwrap().pop_front().unwrap_or(Step::Pass)
}

impl Service<u32> for Scripted {
    type Response = ();
    type Error = BoxError;
    type Future = Ready<Result<(), BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(outcome(next(&self.readiness)))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        let step = next(&self.calls);
        self.seen.lock().unwrap().push(step);
        ready(outcome(step))
    }
}

fn by_text(outcome: Result<&(), &BoxError>) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Success,
        Err(error) if error.to_string() == "refused" => Verdict::NeverProcessed,
        Err(error) => Rejection::find(error).map_or(Verdict::Transient, Verdict::from_rejection),
    }
}

async fn account(
    readiness: Vec<Step>,
    calls: Vec<Step>,
    attempts: u32,
    nested: bool,
    leave: Option<u32>,
) -> Result<(), TestCaseError> {
    let script = |steps: Vec<Step>| Arc::new(Mutex::new(VecDeque::from(steps)));
    let service =
        Scripted { readiness: script(readiness), calls: script(calls), seen: Arc::default() };
    let seen = Arc::clone(&service.seen);
    let budget = Budget::over(Duration::from_secs(60), Ratio::ZERO, 100);
    let before = budget.balance().unwrap();
    let layer = || {
        let layer = RetryLayer::new(attempts).backoff(Backoff::constant(2 * MS));
        layer.budget(budget.clone()).classify(by_text)
    };
    let patience = leave.map_or(SECOND, |millis| millis * MS);
    let ended = if nested {
        timeout(patience, layer().layer(layer().layer(service)).oneshot(0)).await.is_ok()
    } else {
        timeout(patience, layer().layer(service).oneshot(0)).await.is_ok()
    };
    prop_assert!(ended || leave.is_some(), "it never ends");
    let seen = seen.lock().unwrap();
    let count = |is_it: fn(&Step) -> bool| seen.iter().filter(|step| is_it(step)).count() as u64;
    let reached = count(|step| matches!(step, Step::Pass | Step::Fail));
    let begun = count(|step| !matches!(step, Step::Reject));
    let spent = before - budget.balance().unwrap();
    prop_assert!(reached <= u64::from(attempts), "{seen:?}");
    prop_assert!(spent >= reached.saturating_sub(1), "{spent} for {seen:?}");
    prop_assert!(spent <= begun, "{spent} for {seen:?}");
    Ok(())
}

fn script() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Fail),
        2 => Just(Step::Pass),
        1 => Just(Step::Refuse),
        1 => Just(Step::Reject),
    ];
    prop::collection::vec(step, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn each_further_attempt_that_reaches_the_service_is_paid_for(
        readiness in script(),
        calls in script(),
        attempts in 1..5_u32,
        nested: bool,
        leave in prop::option::of(0..12_u32),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(account(readiness, calls, attempts, nested, leave))?;
    }
}
