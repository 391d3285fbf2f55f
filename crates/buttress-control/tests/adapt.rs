//! Promises of every adaptive law with its defaults.
// Miri would need hours, and there is nothing in it for Miri.
#![cfg(not(any(buttress_loom, miri)))]

use std::time::Duration;

use buttress_control::{Adapt, Aimd, Gradient, Gradient2, Nanos, Sample, Trend, Vegas};
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);

/// Callers that always wait for a place, and a service of so many servers: calls beyond them take longer.
struct Callers {
    most: u32,
    servers: f64,
    rtt: Duration,
    now: Duration,
}

impl Callers {
    fn new(most: u32, servers: f64, rtt: Duration) -> Self {
        Self { most, servers, rtt, now: Duration::from_secs(3600) }
    }

    fn call(&mut self, law: &mut impl Adapt, calls: u32) -> u32 {
        for _ in 0..calls {
            let in_flight = law.limit().min(self.most);
            let rtt = self.rtt.mul_f64((f64::from(in_flight) / self.servers).max(1.0));
            self.now += rtt / in_flight;
            law.learn(sample(self.now.saturating_sub(rtt), rtt, in_flight, false));
        }
        law.limit()
    }

    fn drop(&mut self, law: &mut impl Adapt, calls: u32) -> u32 {
        for _ in 0..calls {
            let in_flight = law.limit().min(self.most);
            self.now += self.rtt / in_flight;
            law.learn(sample(self.now.saturating_sub(self.rtt), self.rtt, in_flight, true));
        }
        law.limit()
    }

    /// How many calls it takes until the limit is above this, and is found there from then on.
    fn calls_until_above(&mut self, limit: u32, law: &mut impl Adapt) -> usize {
        let calls = (0..10_000).take_while(|_| self.call(law, 1) <= limit).count();
        assert!(self.settled(law) > limit);
        calls
    }

    /// The median limit over ten thousand calls, for a probe may halve it at any time.
    fn settled(&mut self, law: &mut impl Adapt) -> u32 {
        let mut limits: Vec<_> = (0..1000).map(|_| self.call(law, 10)).collect();
        limits.sort_unstable();
        limits.get(500).copied().unwrap_or_default()
    }
}

fn sample(started: Duration, rtt: Duration, in_flight: u32, dropped: bool) -> Sample {
    Sample::new(Nanos::from(started), rtt, in_flight, dropped)
}

fn limit_is_never_below_one(mut law: impl Adapt) {
    let mut callers = Callers::new(1000, 20.0, 10 * MS);
    for _ in 0..100 {
        callers.drop(&mut law, 1000);
        assert!((1..20).contains(&law.limit()));
    }
}

fn single_calls_raise_no_limit(mut law: impl Adapt) {
    assert_eq!(Callers::new(1, 20.0, 10 * MS).call(&mut law, 10_000), 20);
}

fn single_fast_call_lowers_no_limit(mut law: impl Adapt) {
    let mut callers = Callers::new(1000, 20.0, 10 * MS);
    for _ in 0..100 {
        callers.call(&mut law, 100);
        law.learn(sample(callers.now, Duration::from_nanos(1), law.limit(), false));
    }
    let limit = callers.settled(&mut law);
    assert!((20..=40).contains(&limit), "{limit}");
}

fn seven_drops_at_once_lower_the_limit_by_a_tenth_at_most(mut law: impl Adapt) {
    let before = law.limit();
    for _ in 0..7 {
        law.learn(sample(Duration::from_secs(1), 10 * MS, before, true));
    }
    assert!(law.limit() >= before * 9 / 10, "{} of {before}", law.limit());
}

fn calls_that_fail_together_lower_the_limit_once_by_a_tenth(mut law: impl Adapt) {
    let before = law.limit();
    for _ in 0..before {
        law.learn(sample(Duration::from_secs(1), 10 * MS, before, true));
    }
    assert_eq!(law.limit(), before * 9 / 10);
}

fn few_drops_lower_no_limit(mut law: impl Adapt) {
    let mut callers = Callers::new(1000, 20.0, 10 * MS);
    for _ in 0..200 {
        callers.call(&mut law, 99);
        callers.drop(&mut law, 1);
    }
    let limit = callers.settled(&mut law);
    assert!((20..=40).contains(&limit), "{limit}");
}

/// The regression of Netflix concurrency-limits issue 37 and platinummonkey/go-concurrency-limits issue 117.
fn limit_recovers_from_its_floor_within_2000_calls(mut law: impl Adapt) {
    let mut callers = Callers::new(1000, 20.0, 10 * MS);
    callers.call(&mut law, 10_000);
    let before = callers.settled(&mut law);
    let mut overloaded = Callers::new(1000, 0.02, 10 * MS);
    let floor = overloaded.call(&mut law, 5000);
    assert!(floor <= 8, "{floor}");
    let mut healthy = Callers::new(20, 20.0, 10 * MS);
    healthy.now = overloaded.now;
    assert!(healthy.calls_until_above(before / 2, &mut law) < 2000);
}

fn limit_recovers_from_an_outage_within_2000_calls(mut law: impl Adapt) {
    let mut callers = Callers::new(1000, 20.0, 10 * MS);
    callers.call(&mut law, 10_000);
    let before = callers.settled(&mut law);
    let floor = callers.drop(&mut law, 5000);
    assert!(floor <= 2, "{floor}");
    callers.most = 20;
    assert!(callers.calls_until_above(before / 2, &mut law) < 2000);
}

fn slower_service_keeps_its_limit(mut law: impl Adapt) {
    let mut callers = Callers::new(1000, 20.0, 10 * MS);
    callers.call(&mut law, 20_000);
    callers.rtt *= 3;
    callers.call(&mut law, 10_000);
    let limit = callers.settled(&mut law);
    assert!((20..=40).contains(&limit), "{limit}");
}

fn limit_that_refuses_no_call_is_not_probed(mut law: impl Adapt) {
    for second in 0..100_000 {
        let limit = law.limit();
        let after = law.learn(sample(Duration::from_secs(second), 10 * MS, limit - 1, false));
        assert!(after >= limit.min(1000), "{after} after {limit}");
    }
}

macro_rules! promises {
    ($($name:ident $law:ident)*) => { $(
        mod $name {
            use super::$law;

            promises!(@ $law::default(),
                limit_is_never_below_one
                single_calls_raise_no_limit
                single_fast_call_lowers_no_limit
                few_drops_lower_no_limit
                limit_recovers_from_its_floor_within_2000_calls
                limit_recovers_from_an_outage_within_2000_calls
                slower_service_keeps_its_limit
                limit_that_refuses_no_call_is_not_probed
            );
            promises!(@ $law::default().initial(100),
                seven_drops_at_once_lower_the_limit_by_a_tenth_at_most
                calls_that_fail_together_lower_the_limit_once_by_a_tenth
            );
        }
    )* };
    (@ $law:expr, $($promise:ident)*) => { $(
        #[test]
        fn $promise() {
            super::$promise($law);
        }
    )* };
}

promises!(aimd Aimd vegas Vegas gradient Gradient gradient2 Gradient2 trend Trend);

#[test]
fn crossed_bounds_have_a_meaning() {
    assert_eq!(Vegas::default().initial(0).limit(), 1);
    assert_eq!(Vegas::default().min(0).initial(0).limit(), 1);
    assert_eq!(Vegas::default().initial(5000).limit(), 1000);
    assert_eq!(Vegas::default().max(5).min(10).limit(), 10);
    assert_eq!(Gradient2::default().max(0).limit(), 1);
    assert_eq!(Aimd::default().min(u32::MAX).limit(), u32::MAX);
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let rtt = prop_oneof![any::<Duration>(), Just(Duration::ZERO), Just(Duration::MAX), Just(MS)];
    let dropped = prop_oneof![9 => Just(false), 1 => Just(true)];
    (any::<u64>(), rtt, prop_oneof![any::<u32>(), 0..50_u32], dropped).prop_map(
        |(started, rtt, in_flight, dropped)| {
            Sample::new(Nanos::new(started), rtt, in_flight, dropped)
        },
    )
}

fn stays_between(mut law: impl Adapt, samples: &[Sample], min: u32, max: u32) -> bool {
    samples.iter().all(|sample| {
        let limit = law.learn(*sample);
        limit == law.limit() && (min.max(1)..=max.max(min).max(1)).contains(&limit)
    })
}

proptest! {
    #[test]
    fn limit_stays_within_its_bounds_for_any_sample(
        samples in prop::collection::vec(any_sample(), 1..600),
        initial: u32, min in prop_oneof![any::<u32>(), 0..20_u32], max: u32, each: bool,
    ) {
        macro_rules! check {
            ($($law:ident)*) => { $(
                let law = $law::default().initial(initial).min(min).max(max).round(10);
                let law = if each { law.each_call() } else { law };
                prop_assert!(stays_between(law, &samples, min, max), stringify!($law));
            )* };
        }
        check!(Aimd Vegas Gradient Gradient2 Trend);
    }
}
