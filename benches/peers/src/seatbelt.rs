use buttress_benches::{Case, Echo, Pattern, Workload, drive_plain};
use seatbelt::{
    RecoveryInfo, ResilienceContext, breaker::Breaker, fallback::Fallback, hedging::Hedging,
    retry::Retry, timeout::Timeout,
};
use tick::Clock;
use tower::{BoxError, Layer as _};

use crate::TIMEOUT;

/// seatbelt's retry has no budget.
pub(crate) fn cases() -> [Case; 5] {
    let provider = "seatbelt 0.11";
    [
        Case::new(Pattern::Deadline, provider, Workload::Plain, |inner, calls| {
            let context = ResilienceContext::new(Clock::new_tokio());
            let layer = Timeout::layer("timeout", &context)
                .timeout_error(|_| BoxError::from("timed out"))
                .timeout(TIMEOUT);
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Retry, provider, Workload::Plain, |inner, calls| {
            let context = ResilienceContext::new(Clock::new_tokio());
            let layer = Retry::layer("retry", &context)
                .clone_input()
                .recovery_with(|outcome: &Outcome, _| recovery(outcome));
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Breaker, provider, Workload::Plain, |inner, calls| {
            let context = ResilienceContext::new(Clock::new_tokio());
            let layer = Breaker::layer("breaker", &context)
                .recovery_with(|outcome: &Outcome, _| recovery(outcome))
                .rejected_input(|_: u64, _| Err(BoxError::from("open")));
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Hedge, provider, Workload::Plain, |inner, calls| {
            let context = ResilienceContext::new(Clock::new_tokio());
            let layer = Hedging::layer("hedge", &context)
                .clone_input()
                .recovery_with(|outcome: &Outcome, _| recovery(outcome))
                .hedging_delay(TIMEOUT);
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Fallback, provider, Workload::Plain, |inner, calls| {
            let context = ResilienceContext::new(Clock::new_tokio());
            let layer = Fallback::layer("fallback", &context)
                .should_fallback(Outcome::is_err)
                .fallback(|_: Outcome, _| Ok(0));
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
    ]
}

fn recovery(outcome: &Outcome) -> RecoveryInfo {
    match outcome {
        Ok(_) => RecoveryInfo::never(),
        Err(_) => RecoveryInfo::retry(),
    }
}

type Outcome = Result<u64, BoxError>;
