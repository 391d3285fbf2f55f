use buttress_benches::{Case, Echo, Pattern, Workload, drive_plain};
use seatbelt::{RecoveryInfo, ResilienceContext, retry::Retry, timeout::Timeout};
use tick::Clock;
use tower::{BoxError, Layer as _};

use crate::TIMEOUT;

/// seatbelt's retry has no budget.
pub(crate) fn cases() -> [Case; 2] {
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
