use buttress::{
    deadline::DeadlineLayer,
    http_grpc::HttpExt,
    retry::RetryLayer,
    throttle::{Adapt, Aimd, ThrottleLayer, Vegas},
};
use tower::Layer;

use crate::{
    Case, Echo, Inner, Pattern, Workload,
    cases::settings::{ATTEMPT, ATTEMPTS, BUTTRESS, IN_FLIGHT, TIMEOUT, rate},
    drive_http, drive_plain,
};

/// The limits of buttress. No call reaches a limit.
pub(crate) fn plain() -> Vec<Case> {
    vec![
        Case::new(Pattern::Concurrency, BUTTRESS, Workload::Plain, |inner, calls| {
            drive_plain(ThrottleLayer::concurrency(IN_FLIGHT).layer(Echo(inner)), calls)
        }),
        Case::new(
            Pattern::Concurrency,
            "buttress, `.queue(64)`",
            Workload::Plain,
            |inner, calls| {
                drive_plain(
                    ThrottleLayer::concurrency(IN_FLIGHT).queue(64).layer(Echo(inner)),
                    calls,
                )
            },
        ),
        Case::new(Pattern::Rate, BUTTRESS, Workload::Plain, |inner, calls| {
            drive_plain(ThrottleLayer::rate(rate()).layer(Echo(inner)), calls)
        }),
        adaptive("buttress, far from the limit", Vegas::default),
        adaptive("buttress, `Vegas` at the limit", || Vegas::default().initial(1).max(1)),
        adaptive("buttress, `Aimd` at the limit", || Aimd::default().initial(1).max(1)),
        Case::new(Pattern::KeyedConcurrency, BUTTRESS, Workload::Plain, |inner, calls| {
            let layer = ThrottleLayer::concurrency(IN_FLIGHT).keyed(request_as_key);
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::KeyedRate, BUTTRESS, Workload::Plain, |inner, calls| {
            drive_plain(ThrottleLayer::rate(rate()).keyed(request_as_key).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::LimitedStack, BUTTRESS, Workload::Plain, |inner, calls| {
            let attempt = DeadlineLayer::new(ATTEMPT).layer(Echo(inner));
            let limit = ThrottleLayer::concurrency(IN_FLIGHT).queue(64).layer(attempt);
            let retry = RetryLayer::new(ATTEMPTS).layer(limit);
            drive_plain(DeadlineLayer::new(TIMEOUT).layer(retry), calls)
        }),
        Case::new(Pattern::LimitedStack, "buttress, rate", Workload::Plain, |inner, calls| {
            let attempt = DeadlineLayer::new(ATTEMPT).layer(Echo(inner));
            let limit = ThrottleLayer::rate(rate()).layer(attempt);
            let retry = RetryLayer::new(ATTEMPTS).layer(limit);
            drive_plain(DeadlineLayer::new(TIMEOUT).layer(retry), calls)
        }),
    ]
}

/// The same over HTTP. The body of the response holds the permit until it has been read.
pub(crate) fn http() -> [Case; 4] {
    [
        Case::new(Pattern::Concurrency, BUTTRESS, Workload::Http, |inner, calls| {
            drive_http(ThrottleLayer::concurrency(IN_FLIGHT).http().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Rate, BUTTRESS, Workload::Http, |inner, calls| {
            drive_http(ThrottleLayer::rate(rate()).http().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::LimitedStack, BUTTRESS, Workload::Http, |inner, calls| {
            let attempt = DeadlineLayer::new(ATTEMPT).http().layer(Echo(inner));
            let limit = ThrottleLayer::concurrency(IN_FLIGHT).queue(64).http().layer(attempt);
            let retry = RetryLayer::new(ATTEMPTS).http().layer(limit);
            drive_http(DeadlineLayer::new(TIMEOUT).http().layer(retry), calls)
        }),
        Case::new(Pattern::LimitedStack, "buttress, rate", Workload::Http, |inner, calls| {
            let attempt = DeadlineLayer::new(ATTEMPT).http().layer(Echo(inner));
            let limit = ThrottleLayer::rate(rate()).http().layer(attempt);
            let retry = RetryLayer::new(ATTEMPTS).http().layer(limit);
            drive_http(DeadlineLayer::new(TIMEOUT).http().layer(retry), calls)
        }),
    ]
}

/// An adaptive limit. Calls are samples for `law` only near the limit.
fn adaptive<L: Adapt>(provider: &'static str, law: impl Fn() -> L + 'static) -> Case {
    Case::new(Pattern::Adaptive, provider, Workload::Plain, move |inner: Inner, calls| {
        drive_plain(ThrottleLayer::adaptive(law()).layer(Echo(inner)), calls)
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "keys are read off a reference")]
#[expect(clippy::unnecessary_wraps, reason = "a request may have no key")]
pub(crate) fn request_as_key(request: &u64) -> Option<u64> {
    Some(*request)
}
