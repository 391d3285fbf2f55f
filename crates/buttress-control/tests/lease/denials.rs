//! How long a denial can last.

use std::time::Duration;

use buttress_control::{Lease, LeaseDemand, LeaseReply, LeaseRules, Nanos, Rate};

fn denied(rules: &LeaseRules, next: Duration, full_in: Duration) -> Lease {
    let mut lease = Lease::new();
    lease.refill(NOW, rules, LeaseDemand::new(1, 1, 0));
    lease.grant(NOW, rules, LeaseReply::new(0, next, &[full_in], 0));
    lease
}

/// No reply denies for longer than an empty bucket takes to fill up.
#[test]
fn reply_denies_no_longer_than_the_bucket_takes_to_fill_up() {
    let rules = LeaseRules::new([Rate::per_second(1000)], 4);
    let lease = denied(&rules, Duration::MAX, Duration::MAX);
    let full = Duration::from_millis(800);
    assert_eq!(lease.denied(NOW), Some(full));
    assert_eq!(lease.left_in_store(NOW), (0, full));
    assert!(lease.is_idle(Nanos::new(NOW.get() + 800_000_000)));
}

/// A19: a denial by the former rates ends within a pace.
#[test]
fn denial_of_former_rates_ends_within_a_pace() {
    let before = LeaseRules::new([Rate::per_hour(1)], 4);
    let after = before.clone().for_rates([Rate::per_second(1000)]);
    let hour = Duration::from_secs(3600);
    let mut lease = denied(&before, hour, hour);
    assert_eq!(lease.denied(NOW), Some(hour));
    lease.set_rules(NOW, &before, &after);
    assert_eq!(lease.denied(NOW), Some(after.pace()));
}

const NOW: Nanos = Nanos::new(7_000_000);
