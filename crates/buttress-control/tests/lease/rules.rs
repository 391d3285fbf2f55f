//! What replicas hold of a rate, and what the store keeps.

use std::time::Duration;

use buttress_control::{Gcra, LeaseKind, LeaseRules, Nanos, Rate, Ratio};
use proptest::prelude::*;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The burst in the store, the most cells a replica holds, and the kind.
fn vector(rules: &LeaseRules) -> (u32, u32, LeaseKind) {
    (rules.rates()[0].burst(), rules.max_held(), rules.kind())
}

/// A default rate: the cells of a lease fit into a fifth of the burst.
#[test]
fn default_burst_is_bound_by_time_whatever_the_number_of_replicas() {
    for replicas in [1, 12, 1000] {
        let rules = LeaseRules::new([Rate::per_second(5000)], replicas);
        assert_eq!(vector(&rules).1, 1000);
        assert_eq!(rules.kind(), LeaseKind::Leased);
    }
    assert_eq!(
        vector(&LeaseRules::new([Rate::per_second(5000)], 12)),
        (4000, 1000, LeaseKind::Leased)
    );
    // A single replica holds fewer cells than a lease brings.
    let small = Rate::per_second(5000).burst(5000);
    assert_eq!(vector(&LeaseRules::new([small], 1)), (4000, 1000, LeaseKind::Leased));
}

/// 5,000/s with a burst of 1,000: a lease brings 1,000 cells, more than a fifth of the burst.
#[test]
fn small_burst_is_divided_by_the_replicas() {
    let rate = Rate::per_second(5000).burst(1000);
    assert_eq!(vector(&LeaseRules::new([rate], 4)), (800, 50, LeaseKind::Leased));
    assert_eq!(vector(&LeaseRules::new([rate], 16)), (808, 12, LeaseKind::Leased));
    assert_eq!(vector(&LeaseRules::new([rate], 101)), (1000, 1000, LeaseKind::Exact));
}

#[test]
fn rules_are_exact_if_a_replica_can_hold_less_than_two_cells_or_only_briefly() {
    let rate = Rate::per_second(1000);
    let exact = (1000, 1000, LeaseKind::Exact);
    assert_eq!(vector(&LeaseRules::new([rate], 4).reserve(Ratio::ZERO)), exact);
    assert_eq!(vector(&LeaseRules::new([rate], 4).lease(millis(19))), exact);
    assert_eq!(vector(&LeaseRules::new([rate], 4).exact()), exact);
    assert_eq!(LeaseRules::new([rate], 4).lease(millis(20)).kind(), LeaseKind::Leased);
    assert_eq!(LeaseRules::new([Rate::per_second(9)], 4).kind(), LeaseKind::Exact);
}

#[test]
fn options_of_rules_can_come_in_any_order() {
    let rules = LeaseRules::new([Rate::per_second(1000)], 4);
    let (ratio, lease) = (Ratio::percent(10), millis(100));
    assert_eq!(
        rules.clone().reserve(ratio).lease(lease),
        rules.clone().lease(lease).reserve(ratio)
    );
    assert_eq!(rules.clone().for_rates([Rate::per_second(9)]).kind(), LeaseKind::Exact);
    assert_eq!(
        rules.clone().for_rates([Rate::per_second(9)]).for_rates([Rate::per_second(1000)]),
        rules
    );
}

#[test]
fn count_of_zero_refuses_and_period_of_zero_admits() {
    let (none, all) = (Rate::per_second(0), Rate::new(5, Duration::ZERO));
    assert_eq!(LeaseRules::new([all], 4).kind(), LeaseKind::Admit);
    assert_eq!(LeaseRules::new([all], 4).max_cost(), u32::MAX);
    assert_eq!(LeaseRules::new([], 4).kind(), LeaseKind::Admit);
    assert_eq!(LeaseRules::new([none], 4).kind(), LeaseKind::Refuse);
    assert_eq!(LeaseRules::new([all, none, Rate::per_second(100)], 4).kind(), LeaseKind::Refuse);
    let mixed = LeaseRules::new([all, Rate::per_second(1000)], 4);
    assert_eq!((mixed.rates().len(), mixed.kind()), (1, LeaseKind::Leased));
}

#[test]
fn smallest_number_of_held_cells_counts_for_all_rates() {
    let rules = LeaseRules::new([Rate::per_second(1000), Rate::per_minute(300)], 4);
    // A fifth of 300 is 60. In a lease come 200 cells of the one rate and 1 cell of the other.
    assert_eq!(rules.max_held(), 60);
    assert_eq!(rules.rates().iter().map(|rate| rate.burst()).collect::<Vec<_>>(), [800, 299]);
    assert_eq!(rules.max_cost(), 299);
}

#[test]
fn times_follow_from_the_lease() {
    let rules = LeaseRules::new([Rate::per_second(1000)], 0);
    assert_eq!(
        (rules.lease_time(), rules.horizon(), rules.pace()),
        (millis(200), millis(50), millis(25))
    );
    assert_eq!((rules.replicas(), rules.reply_time()), (1, millis(25)));
    assert_eq!(LeaseRules::new([], 1).lease(Duration::ZERO).pace(), millis(1));
}

#[test]
fn interval_of_a_rate_is_rounded_up_to_a_nanosecond() {
    assert_eq!(Rate::per_second(3).interval(), Duration::from_nanos(333_333_334));
    assert_eq!(Rate::per_second(1000).interval(), millis(1));
    assert_eq!(Rate::per_second(0).interval(), Duration::MAX);
    assert_eq!(Rate::new(1, Duration::ZERO).interval(), Duration::ZERO);
}

#[test]
fn limit_that_is_full_after_a_time_has_taken_the_cells_of_that_time() {
    let now = Nanos::new(5_000_000_000);
    let full_after = |millis| {
        let limit = Gcra::full_after(Rate::per_second(10), now, Duration::from_millis(millis));
        (limit.tokens(now), limit.full_in(now))
    };
    assert_eq!(full_after(0), (10, Duration::ZERO));
    assert_eq!(full_after(250), (7, millis(250)));
    assert_eq!(full_after(1000), (0, millis(1000)));
    assert_eq!(full_after(90_000), (0, millis(1000)), "at most empty");
    assert!(Gcra::full_after(Rate::per_second(10), now, Duration::ZERO).is_fresh(Nanos::new(0)));
}

#[test]
fn share_has_an_equal_part_of_the_rate_and_at_least_one_cell() {
    let share = Rate::per_second(100).burst(20).share(8);
    assert_eq!((share.interval(), share.burst_size()), (millis(80), 2));
    assert_eq!(Rate::per_second(100).burst(5).share(8).burst_size(), 1);
    assert_eq!(Rate::per_second(100).share(0), Rate::per_second(100));
    assert_eq!(Rate::per_second(0).share(8).count(), 0);
    assert!(Rate::new(1, Duration::MAX).share(8).interval() > Duration::from_secs(1 << 29));
}

proptest! {
    /// 4.4: what the store gives at once, and what replicas hold, are the burst together.
    #[test]
    fn burst_of_the_store_and_the_held_cells_make_the_burst(
        count in 1_u32..100_000, period_ms in 1_u64..100_000, burst in 1_u32..2_000_000,
        replicas in 0_u32..2000, percent in 0_u32..=120, lease in 0_u64..5000,
    ) {
        let rate = Rate::new(count, millis(period_ms)).burst(burst);
        let rules = LeaseRules::new([rate], replicas).reserve(Ratio::percent(percent)).lease(millis(lease));
        let leased = rules.rates()[0];
        prop_assert!((1..=burst).contains(&leased.burst()));
        if rules.kind() == LeaseKind::Leased {
            let interval = rate.interval().as_nanos();
            let in_time = rules.lease_time().as_nanos().div_ceil(interval);
            let at_once = u128::from(rules.replicas()) * u128::from(rules.max_held());
            let held = in_time.min(at_once);
            prop_assert!(u128::from(leased.burst()) + held <= u128::from(burst) || leased.burst() == 1);
            prop_assert!(rules.max_held() >= 2 && rules.max_held() < 1 << 20);
            prop_assert!(held <= u128::from(Ratio::percent(percent).ceil_of(burst.into())) + 1);
        } else {
            prop_assert_eq!(leased.burst(), burst);
        }
    }
}
