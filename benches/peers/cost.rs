//! Prints what other crates' layers cost, as one table: `cargo bench -p buttress-peers --bench cost`.

use std::{alloc::System, sync::Arc, time::Duration};

use buttress_benches::{
    Base, Case, Echo, INSTRUMENTED_SYSTEM, Pattern, StatsAlloc, answer_if_asked, drive_plain,
    of_tower, print,
};
use seatbelt::{RecoveryInfo, ResilienceContext, retry::Retry, timeout::Timeout};
use tick::Clock;
use tower::{BoxError, Layer as _};
use tower_resilience_retry::{RetryBudget, RetryBudgetBuilder, RetryLayer};
use tower_resilience_timelimiter::TimeLimiterLayer;

fn main() {
    let mut cases = of_tower();
    cases.retain(Case::is_plain);
    cases.extend(tower_resilience());
    cases.extend(seatbelt());
    if !answer_if_asked(&cases) {
        print(&cases, ALLOCATOR);
    }
}

fn tower_resilience() -> [Case; 2] {
    let by = "tower-resilience 0.13";
    [
        Case::new(Pattern::Deadline, by, Base::Plain, |inner, calls| {
            let layer = TimeLimiterLayer::builder().timeout_duration(TIMEOUT).build();
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Retry, by, Base::Plain, |inner, calls| {
            let layer = RetryLayer::<u64, u64, BoxError>::builder()
                .max_attempts(ATTEMPTS)
                .exponential_backoff(Duration::from_secs(1))
                .budget(budget())
                .build();
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
    ]
}

#[expect(clippy::expect_used, reason = "its defaults are valid")]
fn budget() -> Arc<dyn RetryBudget> {
    RetryBudgetBuilder::new().token_bucket().build().expect("the defaults are valid")
}

/// Its retry has no budget.
fn seatbelt() -> [Case; 2] {
    let by = "seatbelt 0.11";
    [
        Case::new(Pattern::Deadline, by, Base::Plain, |inner, calls| {
            let context = ResilienceContext::new(Clock::new_tokio());
            let layer = Timeout::layer("timeout", &context)
                .timeout_error(|_| BoxError::from("timed out"))
                .timeout(TIMEOUT);
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Retry, by, Base::Plain, |inner, calls| {
            let context = ResilienceContext::new(Clock::new_tokio());
            let layer = Retry::layer("retry", &context).clone_input().recovery_with(
                |outcome: &Result<u64, BoxError>, _| match outcome {
                    Ok(_) => RecoveryInfo::never(),
                    Err(_) => RecoveryInfo::retry(),
                },
            );
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
    ]
}

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ATTEMPTS: usize = 3;
const TIMEOUT: Duration = Duration::from_mins(2);
