use std::{hint::black_box, num::NonZeroU32, sync::Arc};

use buttress_benches::{
    Acquire, Case, Echo, LimitContention, Pattern, Workload, drive_http, drive_plain,
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use crate::PER_SECOND;

/// governor has no layer for arbitrary responses, so [`Acquire`] asks the limiter before each call.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(Pattern::Clock, "governor's", Workload::Plain, |inner, calls| {
            let clock = DefaultClock::default();
            let read = move |_: &u64| Some(black_box(clock.now()));
            drive_plain(Acquire::new(Echo(inner), read), calls)
        }),
        Case::new(Pattern::Rate, PROVIDER, Workload::Plain, |inner, calls| {
            drive_plain(Acquire::new(Echo(inner), direct()), calls)
        }),
        Case::new(Pattern::Rate, PROVIDER, Workload::Http, |inner, calls| {
            drive_http(Acquire::new(Echo(inner), direct()), calls)
        }),
        Case::new(Pattern::KeyedRate, PROVIDER, Workload::Plain, |inner, calls| {
            drive_plain(Acquire::new(Echo(inner), keyed()), calls)
        }),
    ]
}

pub(crate) fn limit_contention() -> [LimitContention; 1] {
    [LimitContention::new(format!("rate, {PROVIDER}"), |worker| Acquire::new(worker, direct()))]
}

fn direct<Req>() -> impl Fn(&Req) -> Option<()> + Clone + use<Req> {
    let limiter = Arc::new(RateLimiter::direct(quota()));
    move |_| limiter.check().ok()
}

fn keyed() -> impl Fn(&u64) -> Option<()> {
    let limiter = RateLimiter::keyed(quota());
    move |request| limiter.check_key(request).ok()
}

fn quota() -> Quota {
    let most = NonZeroU32::MAX;
    let rate = u32::try_from(PER_SECOND).ok().and_then(NonZeroU32::new).unwrap_or(most);
    Quota::per_second(rate).allow_burst(most)
}

const PROVIDER: &str = "governor 0.10, by hand";
