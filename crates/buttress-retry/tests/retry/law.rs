//! The law of the budget, through the layer, against a model: a list of all calls.

use std::{pin::Pin, time::Duration};

use buttress_core::BoxError;
use buttress_retry::{Budget, Ratio, RetryLayer};
use proptest::prelude::*;
use tokio::time::{Instant, advance};
use tower::{Layer, ServiceExt};

use crate::support::{MS, fixed, flaky, poll_once};

#[derive(Clone, Debug)]
enum Step {
    Wait(u32),
    Succeed(u32),
    /// A call that fails, and then waits for this delay.
    Fail(u32),
    /// The waiting call at this index, modulo their number, is dropped.
    Leave(usize),
}

type Waiting = Pin<Box<dyn Future<Output = Result<u32, BoxError>>>>;

/// The history of all calls.
struct History {
    start: Instant,
    calls: Vec<Duration>,
    /// The retries that were made.
    made: Vec<Duration>,
    /// The retries that were granted and have not begun.
    waiting: Vec<(Waiting, Duration)>,
}

impl History {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn granted(&self) -> u64 {
        let granted = self.made.iter().chain(self.waiting.iter().map(|(_, at)| at));
        granted.filter(|at| **at + TTL > self.now()).count() as u64
    }

    fn called(&self) -> u64 {
        self.calls.iter().filter(|at| **at + LONGEST > self.now()).count() as u64
    }

    async fn poll(&mut self) {
        let mut still = Vec::new();
        for (mut call, at) in self.waiting.drain(..) {
            match poll_once(call.as_mut()).await {
                std::task::Poll::Ready(_) => self.made.push(at),
                std::task::Poll::Pending => still.push((call, at)),
            }
        }
        self.waiting = still;
    }
}

async fn run(steps: Vec<Step>, percent: u32, floor: u32) -> Result<(), TestCaseError> {
    let budget = Budget::over(TTL, Ratio::percent(percent), floor);
    let layer = |delay| {
        let backoff = fixed(delay);
        RetryLayer::new(2).backoff(backoff).budget(budget.clone())
    };
    let (calls, made, waiting) = (Vec::new(), Vec::new(), Vec::new());
    let mut history = History { start: Instant::now(), calls, made, waiting };
    for step in steps {
        match step {
            Step::Wait(millis) => {
                advance(millis * MS).await;
                history.poll().await;
            }
            Step::Succeed(count) => {
                for _ in 0..count {
                    history.calls.push(history.now());
                    layer(MS).layer(flaky(0).0).oneshot(0).await.unwrap();
                }
            }
            Step::Fail(delay) => {
                history.calls.push(history.now());
                let mut call: Waiting =
                    Box::pin(layer(delay * MS).layer(flaky(u32::MAX).0).oneshot(0));
                if poll_once(call.as_mut()).await.is_pending() {
                    history.waiting.push((call, history.now()));
                    let credit = u64::from(floor * 100) + history.called() * u64::from(percent);
                    let granted = history.granted();
                    prop_assert!(granted * 100 <= credit, "{granted} of {credit} %");
                }
            }
            Step::Leave(place) => {
                if let Some(place) = place.checked_rem(history.waiting.len()) {
                    drop(history.waiting.swap_remove(place));
                }
            }
        }
    }
    Ok(())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![0..50_u32, 0..500_u32, 0..5000_u32].prop_map(Step::Wait);
    let succeed = (1..40_u32).prop_map(Step::Succeed);
    let fail = prop_oneof![10..300_u32, 10..3000_u32].prop_map(Step::Fail);
    let leave = any::<usize>().prop_map(Step::Leave);
    let step = prop_oneof![3 => wait, 2 => succeed, 6 => fail, 3 => leave];
    prop::collection::vec(step, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn window_grants_at_most_the_reserve_and_the_share_of_its_calls(
        steps in steps(), percent in 0..150_u32, floor in 0..6_u32,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(steps, percent, floor))?;
    }
}

const TTL: Duration = Duration::from_secs(1);

/// The window plus a thirtieth, plus the current millisecond.
const LONGEST: Duration = Duration::from_millis(1035);
