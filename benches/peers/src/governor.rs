use std::{hint::black_box, num::NonZeroU32, sync::Arc};

use buttress_benches::{Base, ByHand, Case, Crowd, Echo, Pattern, drive_http, drive_plain};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use crate::PER_SECOND;

/// It has no layer for any response: what it says is asked as one would by hand.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(Pattern::Clock, "governor's", Base::Plain, |inner, calls| {
            let clock = DefaultClock::default();
            let read = move |_: &u64| Some(black_box(clock.now()));
            drive_plain(ByHand::new(Echo(inner), read), calls)
        }),
        Case::new(Pattern::Rate, BY, Base::Plain, |inner, calls| {
            drive_plain(ByHand::new(Echo(inner), direct()), calls)
        }),
        Case::new(Pattern::Rate, BY, Base::Http, |inner, calls| {
            drive_http(ByHand::new(Echo(inner), direct()), calls)
        }),
        Case::new(Pattern::KeyedRate, BY, Base::Plain, |inner, calls| {
            drive_plain(ByHand::new(Echo(inner), keyed()), calls)
        }),
    ]
}

pub(crate) fn crowds() -> [Crowd; 1] {
    [Crowd::new(format!("rate, {BY}"), |worker| ByHand::new(worker, direct()))]
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

const BY: &str = "governor 0.10, by hand";
