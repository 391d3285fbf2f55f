mod dedup;
mod limits;
mod other_limits;
pub(crate) mod settings;

use buttress::{deadline::DeadlineLayer, http_grpc::HttpExt, retry::RetryLayer};
use tower::{Layer, retry, timeout::TimeoutLayer};

use crate::{Base, Case, Echo, Pattern, drive_http, drive_plain};

pub use dedup::{dedups, hits};
use settings::{ATTEMPT, ATTEMPTS, Budgeted, TIMEOUT, TOWER};

/// All cases: the service alone, tower's layers and ours.
pub fn cases() -> Vec<Case> {
    let mut cases = of_tower();
    cases.extend(plain());
    cases.extend(http());
    cases.extend(limits::plain());
    cases.extend(limits::http());
    cases.extend(dedup::dedups().into_iter().flat_map(|dedup| dedup.cases));
    cases.extend(dedup::hits().into_iter().map(|hits| hits.case));
    cases
}

/// The service alone and tower's layers, which others are compared with; of tokio, its clock and its
/// semaphore.
pub fn of_tower() -> Vec<Case> {
    let mut cases = vec![
        Case::new(Pattern::Bare, "–", Base::Plain, |inner, calls| {
            drive_plain(Echo(inner), calls)
        }),
        crate::dedup::bare(),
        Case::new(Pattern::Bare, "–", Base::Http, |inner, calls| drive_http(Echo(inner), calls)),
        Case::new(Pattern::Deadline, TOWER, Base::Plain, |inner, calls| {
            drive_plain(TimeoutLayer::new(TIMEOUT).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Deadline, TOWER, Base::Http, |inner, calls| {
            drive_http(TimeoutLayer::new(TIMEOUT).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Retry, TOWER, Base::Plain, |inner, calls| {
            drive_plain(retry::RetryLayer::new(Budgeted::new()).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Retry, TOWER, Base::Http, |inner, calls| {
            drive_http(retry::RetryLayer::new(Budgeted::new()).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Stack, TOWER, Base::Plain, |inner, calls| {
            let attempt = TimeoutLayer::new(ATTEMPT).layer(Echo(inner));
            let retry = retry::RetryLayer::new(Budgeted::new()).layer(attempt);
            drive_plain(TimeoutLayer::new(TIMEOUT).layer(retry), calls)
        }),
        Case::new(Pattern::Stack, TOWER, Base::Http, |inner, calls| {
            let attempt = TimeoutLayer::new(ATTEMPT).layer(Echo(inner));
            let retry = retry::RetryLayer::new(Budgeted::new()).layer(attempt);
            drive_http(TimeoutLayer::new(TIMEOUT).layer(retry), calls)
        }),
    ];
    cases.extend(other_limits::plain());
    cases.extend(other_limits::http());
    cases
}

fn plain() -> [Case; 4] {
    [
        Case::new(Pattern::Deadline, "buttress", Base::Plain, |inner, calls| {
            drive_plain(DeadlineLayer::new(TIMEOUT).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Deadline, "buttress, `propagate()`", Base::Plain, |inner, calls| {
            drive_plain(DeadlineLayer::propagate().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Retry, "buttress", Base::Plain, |inner, calls| {
            drive_plain(RetryLayer::new(ATTEMPTS).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Stack, "buttress", Base::Plain, |inner, calls| {
            let attempt = DeadlineLayer::new(ATTEMPT).layer(Echo(inner));
            let retry = RetryLayer::new(ATTEMPTS).layer(attempt);
            drive_plain(DeadlineLayer::new(TIMEOUT).layer(retry), calls)
        }),
    ]
}

fn http() -> [Case; 4] {
    [
        Case::new(Pattern::Deadline, "buttress", Base::Http, |inner, calls| {
            drive_http(DeadlineLayer::new(TIMEOUT).http().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Deadline, "buttress, `propagate()`", Base::Http, |inner, calls| {
            drive_http(DeadlineLayer::propagate().http().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Retry, "buttress", Base::Http, |inner, calls| {
            drive_http(RetryLayer::new(ATTEMPTS).http().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Stack, "buttress", Base::Http, |inner, calls| {
            let attempt = DeadlineLayer::new(ATTEMPT).http().layer(Echo(inner));
            let retry = RetryLayer::new(ATTEMPTS).http().layer(attempt);
            drive_http(DeadlineLayer::new(TIMEOUT).http().layer(retry), calls)
        }),
    ]
}
