//! Gradient2, as Netflix has it.
#![cfg(not(buttress_loom))]

use std::time::Duration;

use buttress_control::{Adapt, Gradient2, Nanos, Ratio, Sample, Slack};

/// Netflix's class by itself learns from every call.
fn netflix(initial: u32) -> Gradient2 {
    Gradient2::default().each_call().tolerance(Ratio::percent(150)).initial(initial).min(20)
}

fn after(law: &mut Gradient2, samples: &[(u64, u32)]) -> Vec<u32> {
    let learn = |(millis, in_flight): &(u64, u32)| {
        let rtt = Duration::from_millis(*millis);
        law.learn(Sample::new(Nanos::new(0), rtt, *in_flight, false))
    };
    samples.iter().map(learn).collect()
}

/// Computed with the formula of Netflix concurrency-limits, `Gradient2Limit`.
#[test]
fn steady_latency_raises_the_limit_by_a_fifth_of_the_queue() {
    let mut law = netflix(20);
    let limits = after(&mut law, &[(10, 20); 10]);
    assert_eq!(limits, [20, 21, 22, 23, 24, 24, 25, 26, 27, 28]);
    // 26.0, 24.2 and 22.58: the gradient is at its floor of a half.
    assert_eq!(after(&mut law, &[(100, 50); 3]), [26, 24, 22]);
}

/// Computed with the formula of Netflix concurrency-limits, `Gradient2Limit`.
#[test]
fn longer_latency_takes_at_most_a_fifth_of_a_half() {
    let mut law = netflix(100);
    assert_eq!(after(&mut law, &[(10, 100); 10]).last(), Some(&108));
    // 98.0, 89.0 and 80.9.
    assert_eq!(after(&mut law, &[(40, 100); 3]), [98, 89, 80]);
}

/// The rule of Netflix concurrency-limits, `Gradient2Limit`.
#[test]
fn limit_that_is_not_half_used_stays() {
    assert_eq!(after(&mut netflix(20), &[(10, 9); 10]), [20; 10]);
}

#[test]
fn average_falls_sooner_than_it_rose_after_a_long_overload() {
    let mut law = netflix(20);
    after(&mut law, &[(1000, 1); 1000]);
    after(&mut law, &[(10, 1); 100]);
    // Weighted alone it would still be 720 ms, and 200 ms would look fast.
    assert!(after(&mut law.initial(100), &[(200, 100)]) < vec![100]);
}

#[test]
fn queue_and_smoothing_options_apply() {
    let law = netflix(100).queue(Slack::sqrt(4)).smoothing(Ratio::percent(100));
    assert_eq!(after(&mut law.clone(), &[(10, 100)]), [110]);
    assert_eq!(after(&mut law.smoothing(Ratio::MAX), &[(10, 100)]), [110]);
}
