mod dedup;
mod fleet;
pub(crate) mod limits;
mod other_limits;
mod patterns;
pub(crate) mod settings;
mod shared_cache;
mod stacks;
mod tower_hedge;

use buttress::{deadline::DeadlineLayer, http_grpc::HttpExt, retry::RetryLayer};
use tower::{Layer, retry, timeout::TimeoutLayer};

use crate::{Case, Echo, Pattern, Workload, drive_http, drive_plain};

pub use dedup::{coalescers, response_caches};
use settings::{ATTEMPT, ATTEMPTS, BudgetPolicy, TIMEOUT, TOWER};

/// All cases: the bare service, the layers of tower and those of buttress.
pub fn cases() -> Vec<Case> {
    let mut cases = reference_cases();
    cases.extend(plain());
    cases.extend(http());
    cases.extend(limits::plain());
    cases.extend(limits::http());
    cases.extend(fleet::plain());
    cases.extend(patterns::plain());
    cases.extend(patterns::http());
    cases.extend(stacks::plain());
    cases.extend(stacks::http());
    cases.extend(dedup::coalescers().into_iter().flat_map(|dedup| dedup.cases));
    cases.extend(dedup::response_caches().into_iter().map(|response_caches| response_caches.case));
    cases.push(shared_cache::hit());
    cases
}

/// The cases that all others are compared with: the bare service, the layers of tower, and the clock and the
/// semaphore of tokio.
pub fn reference_cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new(Pattern::Bare, "–", Workload::Plain, |inner, calls| {
            drive_plain(Echo(inner), calls)
        }),
        crate::coalescer::bare(),
        Case::new(Pattern::Bare, "–", Workload::Http, |inner, calls| {
            drive_http(Echo(inner), calls)
        }),
        Case::new(Pattern::Deadline, TOWER, Workload::Plain, |inner, calls| {
            drive_plain(TimeoutLayer::new(TIMEOUT).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Deadline, TOWER, Workload::Http, |inner, calls| {
            drive_http(TimeoutLayer::new(TIMEOUT).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Retry, TOWER, Workload::Plain, |inner, calls| {
            drive_plain(retry::RetryLayer::new(BudgetPolicy::new()).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Retry, TOWER, Workload::Http, |inner, calls| {
            drive_http(retry::RetryLayer::new(BudgetPolicy::new()).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Stack, TOWER, Workload::Plain, |inner, calls| {
            let attempt = TimeoutLayer::new(ATTEMPT).layer(Echo(inner));
            let retry = retry::RetryLayer::new(BudgetPolicy::new()).layer(attempt);
            drive_plain(TimeoutLayer::new(TIMEOUT).layer(retry), calls)
        }),
        Case::new(Pattern::Stack, TOWER, Workload::Http, |inner, calls| {
            let attempt = TimeoutLayer::new(ATTEMPT).layer(Echo(inner));
            let retry = retry::RetryLayer::new(BudgetPolicy::new()).layer(attempt);
            drive_http(TimeoutLayer::new(TIMEOUT).layer(retry), calls)
        }),
    ];
    cases.extend(other_limits::plain());
    cases.extend(other_limits::http());
    cases.extend(tower_hedge::cases());
    cases
}

fn plain() -> [Case; 4] {
    [
        Case::new(Pattern::Deadline, "buttress", Workload::Plain, |inner, calls| {
            drive_plain(DeadlineLayer::new(TIMEOUT).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Deadline, "buttress, `propagate()`", Workload::Plain, |inner, calls| {
            drive_plain(DeadlineLayer::propagate().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Retry, "buttress", Workload::Plain, |inner, calls| {
            drive_plain(RetryLayer::new(ATTEMPTS).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Stack, "buttress", Workload::Plain, |inner, calls| {
            let attempt = DeadlineLayer::new(ATTEMPT).layer(Echo(inner));
            let retry = RetryLayer::new(ATTEMPTS).layer(attempt);
            drive_plain(DeadlineLayer::new(TIMEOUT).layer(retry), calls)
        }),
    ]
}

fn http() -> [Case; 4] {
    [
        Case::new(Pattern::Deadline, "buttress", Workload::Http, |inner, calls| {
            drive_http(DeadlineLayer::new(TIMEOUT).http().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Deadline, "buttress, `propagate()`", Workload::Http, |inner, calls| {
            drive_http(DeadlineLayer::propagate().http().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Retry, "buttress", Workload::Http, |inner, calls| {
            drive_http(RetryLayer::new(ATTEMPTS).http().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Stack, "buttress", Workload::Http, |inner, calls| {
            let attempt = DeadlineLayer::new(ATTEMPT).http().layer(Echo(inner));
            let retry = RetryLayer::new(ATTEMPTS).http().layer(attempt);
            drive_http(DeadlineLayer::new(TIMEOUT).http().layer(retry), calls)
        }),
    ]
}
