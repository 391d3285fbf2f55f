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
    assert_eq!(lease.denied(NOW, &rules, 1), Some(full));
    assert_eq!(lease.left_in_store(NOW, 0), (0, full));
    assert!(lease.is_idle(Nanos::new(NOW.get() + 800_000_000)));
}

/// A19: a denial by the former rates ends.
#[test]
fn denial_of_former_rates_ends_with_other_rates() {
    let before = LeaseRules::new([Rate::per_hour(1)], 4);
    let after = before.clone().for_rates([Rate::per_second(1000)]);
    let hour = Duration::from_secs(3600);
    let mut lease = denied(&before, hour, hour);
    assert_eq!(lease.denied(NOW, &before, 1), Some(hour));
    lease.set_rules(NOW, &before, &after);
    assert_eq!(lease.denied(NOW, &after, 1), None);
}

/// A12: a request that needed many cells denies calls that need fewer only until these can be there.
#[test]
fn denial_of_a_costly_call_ends_earlier_for_cheaper_calls() {
    let rules = LeaseRules::new([Rate::per_second(1000)], 4);
    let millis = Duration::from_millis;
    let mut lease = Lease::new();
    lease.refill(NOW, &rules, LeaseDemand::new(500, 500, 0));
    // 300 of 800 cells are there, so 500 are in 200 ms.
    let at = Nanos::new(NOW.get() + 2_000_000);
    lease.grant(at, &rules, LeaseReply::new(0, millis(200), &[millis(500)], 300));
    let denied = |cells| lease.denied(at, &rules, cells);
    assert_eq!(denied(1), Some(rules.pace()), "no earlier than the pace");
    assert_eq!(denied(300), Some(rules.pace()));
    assert_eq!(denied(400), Some(millis(100)));
    assert_eq!([denied(500), denied(800)], [Some(millis(200)); 2]);
    let later = Nanos::new(at.get() + 25_000_000);
    let ask = |lease: &mut Lease, cells| {
        lease.refill(later, &rules, LeaseDemand::new(cells, u32::try_from(cells).unwrap(), 0))
    };
    assert_eq!(ask(&mut lease, 500), None);
    assert!(ask(&mut lease, 2).is_some());
}

/// A rate of 0 and a rate without a limit need no store.
#[test]
fn rules_without_a_limit_or_without_cells_ask_for_nothing() {
    for rate in [Rate::per_second(0), Rate::new(1, Duration::ZERO)] {
        let rules = LeaseRules::new([rate], 4);
        assert_eq!(Lease::new().refill(NOW, &rules, LeaseDemand::new(1, 1, 0)), None);
    }
}

const NOW: Nanos = Nanos::new(7_000_000);
