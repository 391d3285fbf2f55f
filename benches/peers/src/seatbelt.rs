use buttress_benches::{Base, Case, Echo, Pattern, drive_plain};
use seatbelt::{RecoveryInfo, ResilienceContext, retry::Retry, timeout::Timeout};
use tick::Clock;
use tower::{BoxError, Layer as _};

use crate::TIMEOUT;

/// Its retry has no budget.
pub(crate) fn cases() -> [Case; 2] {
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
