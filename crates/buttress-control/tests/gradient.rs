//! Gradient, as Envoy has it.
#![cfg(not(buttress_loom))]

use std::time::Duration;

use buttress_control::{Adapt, Gradient, Nanos, Sample};

const MS: Duration = Duration::from_millis(1);

/// One step of Envoy's controller, with its 25 % of buffer.
fn step(limit: u32, baseline: Duration, rtt: Duration) -> u32 {
    let mut law = Gradient::default().each_call().initial(limit).min(3).baseline(baseline);
    law.learn(Sample::new(Nanos::new(0), rtt, limit, false))
}

/// Computed with the formula of Envoy, `gradient_controller.cc`.
#[test]
fn limit_follows_the_gradient_plus_a_square_root() {
    assert_eq!(step(10, 5 * MS, 5 * MS), 16);
    assert_eq!(step(100, 10 * MS, 12 * MS + MS / 2), 110);
    assert_eq!(step(100, 10 * MS, 25 * MS), 57);
}

/// Computed with the formula of Envoy, `gradient_controller.cc`.
#[test]
fn step_at_most_halves_or_doubles() {
    assert_eq!(step(100, 10 * MS, 100 * MS), 57);
    assert_eq!(step(100, 10 * MS, MS), 214);
}

/// Computed with the formula of Envoy, `gradient_controller.cc`.
#[test]
fn limit_stays_at_its_minimum() {
    assert_eq!(step(3, 5 * MS, 500 * MS), 3);
}

/// Full rounds of calls of so many milliseconds, until the limit is halved for a probe.
fn until_probed(law: &mut Gradient, millis: u32) -> Duration {
    let mut now = Duration::from_secs(1);
    let before = law.limit();
    while law.limit() >= before {
        now += MS;
        let rtt = millis * MS;
        let in_flight = law.limit();
        law.learn(Sample::new(Nanos::from(now.saturating_sub(rtt)), rtt, in_flight, false));
    }
    now
}

/// The rule of Envoy's `MinRTTEpoch`.
#[test]
fn probe_ignores_calls_that_started_before() {
    let mut law = Gradient::default().max(20);
    let since = until_probed(&mut law, 10);
    assert_eq!(law.limit(), 10);
    let mut call = |started, rtt: Duration| {
        let sample = Sample::new(Nanos::from(started), rtt, 10, false);
        law.learn(sample)
    };
    for _ in 0..10_000 {
        assert_eq!(
            call(since.saturating_sub(MS), 5000 * MS),
            10,
            "the probe waits for calls of its own"
        );
    }
    let own = (0..1000).take_while(|_| call(since, 10 * MS) == 10).count();
    assert_eq!(own, 119, "twenty to drain, a hundred to measure");
    assert_eq!(law.learned(), Some(10 * MS));
}
