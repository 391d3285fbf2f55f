//! The lease law: what a replica asks for.

use std::time::Duration;

use buttress_control::{Lease, LeaseDemand, LeaseReply, LeaseRules, Nanos, Rate};

const MILLI: u64 = 1_000_000;

fn at(millis: u64) -> Nanos {
    Nanos::new(millis * MILLI)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// 1,000/s: at most 200 cells are held, for 200 ms.
fn thousand() -> LeaseRules {
    LeaseRules::new([Rate::per_second(1000)], 4)
}

/// A lease of a key that admits `cells` per millisecond, until 2,000 ms.
fn busy(cells: u32) -> Lease {
    let mut lease = Lease::new();
    for time in 0..2000 {
        lease.spend(at(time), &thousand(), cells);
    }
    lease
}

/// Asks for the cells of `demand`, and returns `want` and `min`.
fn ask(lease: &mut Lease, time: u64, demand: LeaseDemand) -> Option<(u32, u32)> {
    lease.refill(at(time), &thousand(), demand).map(|refill| (refill.want, refill.min))
}

fn grant(lease: &mut Lease, time: u64, granted: u32, next: u64) -> (u32, Nanos) {
    let full_in = [millis(100)];
    let leased =
        lease.grant(at(time), &thousand(), LeaseReply::new(granted, millis(next), &full_in, 700));
    (leased.cells, leased.ends)
}

const NOTHING: LeaseDemand = LeaseDemand::new(0, 0, 0);

/// A5: at most one request is under way. A12: none starts while calls are denied.
#[test]
fn one_request_is_under_way_and_none_after_a_short_grant() {
    let mut lease = Lease::new();
    assert_eq!(ask(&mut lease, 0, LeaseDemand::new(5, 2, 0)), Some((5, 2)));
    assert_eq!(ask(&mut lease, 1, LeaseDemand::new(6, 2, 0)), None);
    assert_eq!(grant(&mut lease, 1, 4, 3), (4, at(200)));
    assert_eq!(
        lease.denied(at(1), &thousand(), 1),
        Some(millis(25)),
        "the pace, because 3 ms are less"
    );
    assert_eq!(ask(&mut lease, 25, LeaseDemand::new(1, 1, 0)), None);
    assert_eq!(lease.denied(at(26), &thousand(), 1), None);
    assert_eq!(ask(&mut lease, 26, LeaseDemand::new(1, 1, 0)), Some((1, 1)));
    grant(&mut lease, 27, 0, 60);
    assert_eq!(lease.denied(at(27), &thousand(), 1), Some(millis(60)));
}

/// A11: a whole grant lets the next request start at once.
#[test]
fn next_request_starts_at_once_after_a_whole_grant() {
    let mut lease = Lease::new();
    ask(&mut lease, 0, LeaseDemand::new(2, 1, 0));
    grant(&mut lease, 1, 2, 0);
    assert_eq!(ask(&mut lease, 1, LeaseDemand::new(3, 3, 0)), Some((3, 3)));
}

/// A7, A8: a cold key asks for what its calls need. A busy one asks ahead, four times more each time.
#[test]
fn cold_key_holds_nothing_and_a_busy_key_grows_its_target_fourfold() {
    let mut cold = Lease::new();
    assert_eq!(cold.refill_below(at(0), &thousand()), None);
    assert_eq!(ask(&mut cold, 0, LeaseDemand::new(1, 1, 0)), Some((1, 1)));
    assert_eq!(ask(&mut Lease::new(), 0, NOTHING), None);

    let mut lease = busy(1);
    let wants: Vec<_> = (2000..2004)
        .map(|time| {
            let (want, _) = ask(&mut lease, time, LeaseDemand::new(1, 1, 0)).unwrap();
            grant(&mut lease, time, want, 0);
            lease.spend(at(time), &thousand(), 1);
            want
        })
        .collect();
    assert_eq!(wants, [9, 33, 51, 51], "one for the call, and 8, 32, 50 ahead");
    assert_eq!(lease.refill_below(at(2004), &thousand()), Some(25));
}

/// A7: half of the last target at least.
#[test]
fn target_falls_by_half_at_most() {
    let mut lease = busy(1);
    for time in 2000..2004 {
        ask(&mut lease, time, LeaseDemand::new(1, 1, 0));
        grant(&mut lease, time, 60, 0);
    }
    // 590 ms later, ρ·h has fallen to 2.6.
    assert_eq!(ask(&mut lease, 2590, LeaseDemand::new(1, 1, 0)), Some((25, 1)));
    grant(&mut lease, 2590, 25, 0);
    assert_eq!(ask(&mut lease, 4000, LeaseDemand::new(1, 1, 0)), Some((1, 1)), "cold");
}

/// A7, A9: held and asked cells stay within H, except for a call that costs more.
#[test]
fn held_and_asked_cells_never_exceed_the_most_but_for_a_costly_call() {
    let mut lease = busy(10);
    for time in 2000..2004 {
        ask(&mut lease, time, NOTHING);
        grant(&mut lease, time, 200, 0);
    }
    assert_eq!(ask(&mut lease, 2004, LeaseDemand::new(0, 0, 90)), Some((110, 1)));
    grant(&mut lease, 2004, 110, 0);
    assert_eq!(ask(&mut lease, 2005, LeaseDemand::new(0, 0, 101)), None, "more than half is held");
    assert_eq!(ask(&mut lease, 2005, LeaseDemand::new(190, 190, 30)), Some((170, 160)));
    grant(&mut lease, 2005, 170, 0);
    assert_eq!(ask(&mut lease, 2006, LeaseDemand::new(500, 201, 30)), Some((201, 201)));
}

/// A2: the cells end L after the sending.
#[test]
fn cells_end_a_lease_after_the_sending_and_are_not_granted_later() {
    let mut lease = Lease::new();
    ask(&mut lease, 10, LeaseDemand::new(2, 1, 0));
    assert_eq!(grant(&mut lease, 209, 2, 0), (2, at(210)));
    ask(&mut lease, 300, LeaseDemand::new(2, 1, 0));
    let leased = lease.grant(at(500), &thousand(), LeaseReply::new(2, millis(0), &[], 0));
    assert_eq!((leased.cells, leased.expired), (0, 2));
}

#[test]
fn reply_without_a_request_or_with_more_than_asked_gives_no_more() {
    let mut lease = Lease::new();
    assert_eq!(grant(&mut lease, 0, 9, 0), (0, at(0)));
    ask(&mut lease, 0, LeaseDemand::new(2, 1, 0));
    assert_eq!(grant(&mut lease, 0, u32::MAX, 0).0, 2);
}

/// A14: the wait counts the bucket of the last grant and the calls ahead.
#[test]
fn wait_is_a_lower_bound_by_the_last_grant() {
    let mut lease = Lease::new();
    let rules = thousand();
    assert_eq!(lease.wait_behind(at(0), &rules, 0, 1), Duration::ZERO);
    lease.refill(at(0), &rules, LeaseDemand::new(1, 1, 0));
    // The bucket of 800 cells is empty: it is full in 800 ms.
    lease.grant(at(2), &rules, LeaseReply::new(0, millis(1), &[millis(800)], 0));
    assert_eq!(lease.wait_behind(at(2), &rules, 0, 1), millis(25), "the pace");
    assert_eq!(lease.wait_behind(at(2), &rules, 0, 100), millis(98));
    assert_eq!(lease.wait_behind(at(2), &rules, 50, 100), millis(148));
    assert_eq!(lease.left_in_store(at(2), 0), (0, millis(798)));
}

/// A18.
#[test]
fn lease_is_idle_without_a_request_a_debt_and_an_expectation() {
    let mut lease = Lease::new();
    assert!(lease.is_idle(at(0)));
    lease.refill(at(0), &thousand(), LeaseDemand::new(1, 1, 0));
    assert!(!lease.is_idle(at(0)));
    grant(&mut lease, 1, 1, 0);
    assert!(!lease.is_idle(at(99)));
    assert!(lease.is_idle(at(100)));
    lease.refill(at(200), &thousand(), LeaseDemand::new(1, 1, 0));
    lease.fail(at(201), None);
    lease.owe(1);
    assert!(!lease.is_idle(at(10_000)), "a debt is never forgotten");
}

/// L5, L6: the debt stays until a request that carries it succeeds.
#[test]
fn debt_is_kept_until_a_request_that_carries_it_succeeds() {
    let mut lease = Lease::new();
    ask(&mut lease, 0, LeaseDemand::new(1, 1, 0));
    assert!(lease.fail(at(25), None));
    assert!(lease.is_away());
    lease.owe(3);
    assert_eq!(ask(&mut lease, 124, NOTHING), None, "100 ms have not passed");
    let refill = lease.refill(at(125), &thousand(), NOTHING).unwrap();
    assert_eq!((refill.want, refill.min, refill.debt), (0, 1, 3));
    lease.owe(4);
    assert!(!lease.fail(at(150), Some(Duration::from_secs(10))), "it was away before");
    assert_eq!(lease.debt(), 7);
    assert_eq!(ask(&mut lease, 10_149, NOTHING), None, "the store said when");
    assert_eq!(lease.refill(at(10_150), &thousand(), NOTHING).unwrap().debt, 7);
    lease.owe(2);
    let leased =
        lease.grant(at(10_151), &thousand(), LeaseReply::new(0, millis(0), &[millis(5)], 1));
    assert!(leased.is_regained && !lease.is_away());
    assert_eq!(lease.debt(), 2, "the cells since the sending");
}

/// L7: the time limit of the request counts.
#[test]
fn bucket_is_expected_while_it_cannot_be_full() {
    let mut lease = Lease::new();
    let rules = thousand();
    assert!(!lease.expects(at(0), &rules, 0));
    ask(&mut lease, 0, LeaseDemand::new(1, 1, 0));
    grant(&mut lease, 10, 1, 0);
    assert!(lease.expects(at(74), &rules, 0));
    assert!(!lease.expects(at(75), &rules, 0), "full 100 ms after the sending, less 25 ms");
    assert!(!lease.expects(at(0), &rules, 1), "there is no such rate");
}

/// L3.
#[test]
fn share_begins_with_its_part_of_what_the_last_grant_left() {
    let rules = thousand();
    let tokens = |lease: &Lease, time| lease.share(at(time), &rules).tokens(at(time));
    let mut lease = Lease::new();
    assert_eq!(tokens(&lease, 0), 250, "without a grant, a quarter of the burst");
    ask(&mut lease, 0, LeaseDemand::new(1, 1, 0));
    // Of 800 cells, 400 are left when the reply arrives.
    lease.grant(at(2), &rules, LeaseReply::new(1, millis(0), &[millis(400)], 400));
    assert_eq!(tokens(&lease, 2), 100);
    assert_eq!(tokens(&lease, 202), 150, "200 came since");
    assert_eq!(tokens(&lease, 9000), 200, "no more than the bucket holds");
    assert_eq!(lease.share(at(2), &rules).full_in(at(2)), millis(600), "a quarter of the rate");
}

/// A19, A20.
#[test]
fn other_rates_keep_the_cells_of_the_bucket() {
    let (before, slower) = (thousand(), thousand().for_rates([Rate::per_second(500).burst(1000)]));
    let mut lease = Lease::new();
    ask(&mut lease, 0, LeaseDemand::new(1, 1, 0));
    lease.grant(at(0), &before, LeaseReply::new(1, millis(0), &[millis(400)], 400));
    let mut faster = lease.clone();
    lease.set_rules(at(0), &before, &slower);
    assert_eq!(
        lease.left_in_store(at(0), 0).1,
        millis(400),
        "another replica may ask by the old rate"
    );
    faster.set_rules(at(0), &before, &thousand().for_rates([Rate::per_second(4000)]));
    assert_eq!(faster.left_in_store(at(0), 0).1, millis(100));
    let none = LeaseRules::new([], 4);
    lease.set_rules(at(0), &before, &none);
    assert_eq!(lease.left_in_store(at(0), 0), (0, Duration::ZERO));
}

#[test]
fn time_that_steps_back_changes_nothing() {
    let mut lease = busy(1);
    lease.spend(at(0), &thousand(), 1);
    assert!(lease.refill_below(at(0), &thousand()).is_some());
    assert!(ask(&mut lease, 0, LeaseDemand::new(1, 1, 0)).is_some());
    grant(&mut lease, 0, 1, 0);
    assert!(lease.fail(Nanos::new(u64::MAX), None));
    assert_eq!(ask(&mut lease, 0, NOTHING), None);
}
