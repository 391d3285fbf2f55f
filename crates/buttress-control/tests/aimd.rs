//! AIMD: one more, or a tenth fewer.
#![cfg(not(buttress_loom))]

use std::time::Duration;

use buttress_control::{Adapt, Aimd, Nanos, Sample};

const MS: Duration = Duration::from_millis(1);

fn sample(rtt: Duration, in_flight: u32, dropped: bool) -> Sample {
    Sample { started: Nanos::new(0), rtt, in_flight, dropped }
}

/// Netflix's class by itself learns from every call.
fn netflix(initial: u32) -> Aimd {
    Aimd::default().each_call().initial(initial).timeout(Duration::from_secs(5))
}

#[test]
fn ac_01_a_call_near_the_limit_raises_it_by_one() {
    assert_eq!(netflix(20).learn(sample(MS, 10, false)), 21);
}

#[test]
fn ac_01_a_drop_leaves_nine_tenths() {
    assert_eq!(netflix(30).learn(sample(Duration::ZERO, 0, true)), 27);
}

#[test]
fn ac_01_the_maximum_stays() {
    assert_eq!(netflix(21).max(21).min(0).learn(sample(MS, 11, false)), 21);
}

#[test]
fn ac_01_a_call_beyond_the_timeout_is_a_drop() {
    let timeout = Duration::from_secs(5);
    assert_eq!(netflix(30).learn(sample(timeout, 30, false)), 31);
    assert_eq!(netflix(30).learn(sample(timeout + MS, 30, false)), 27);
}

#[test]
fn ac_01_a_call_far_from_the_limit_raises_nothing() {
    assert_eq!(netflix(20).learn(sample(MS, 9, false)), 20);
}
