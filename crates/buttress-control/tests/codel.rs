//! Controlled delay: when a queue is overloaded, and which requests it sheds.
#![cfg(not(buttress_loom))]

use std::time::Duration;

use buttress_control::{Codel, Nanos};
use proptest::prelude::*;

const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_millis(11);

fn at(millis: u64) -> Nanos {
    Nanos::from(Duration::from_millis(millis))
}

/// A queue in its second interval, which ends at 201 ms. All its requests wait too long.
fn overloaded() -> Codel {
    let mut codel = Codel::default();
    for millis in (0..=100).step_by(10) {
        assert!(!codel.dequeue(at(millis), LONG), "not before an interval was measured");
    }
    assert!(!codel.dequeue(at(101), LONG), "not the first of an interval");
    codel
}

#[test]
fn standing_queue_sheds_requests_that_waited_over_twice_the_target() {
    let mut codel = overloaded();
    assert!(codel.is_overloaded());
    assert!(codel.dequeue(at(102), LONG));
    assert!(!codel.dequeue(at(103), 2 * SHORT), "twice the target is not over it");
    assert!(codel.dequeue(at(104), 2 * SHORT + Duration::from_nanos(1)));
}

#[test]
fn single_short_wait_ends_the_overload() {
    let mut codel = overloaded();
    codel.dequeue(at(150), SHORT);
    assert!(codel.dequeue(at(201), LONG), "the interval before is still what counts");
    codel.dequeue(at(202), LONG);
    assert!(!codel.is_overloaded());
    assert!(!codel.dequeue(at(203), LONG));
}

#[test]
fn burst_worked_off_within_an_interval_is_not_shed() {
    let mut codel = Codel::default();
    for millis in 0..1000 {
        let waited = Duration::from_millis(50 - millis % 50);
        assert!(!codel.dequeue(at(millis), waited));
    }
}

#[test]
fn queue_that_ran_empty_does_not_stand() {
    let mut codel = overloaded();
    codel.emptied(at(150));
    assert!(codel.is_overloaded());
    codel.dequeue(at(5000), LONG);
    assert!(!codel.is_overloaded());
}

#[test]
fn running_empty_begins_an_interval() {
    let mut codel = overloaded();
    codel.emptied(at(300));
    assert!(codel.dequeue(at(301), LONG), "the interval before it stood");
    codel.dequeue(at(401), LONG);
    assert!(!codel.is_overloaded());
}

#[test]
fn first_request_of_an_interval_is_never_shed() {
    let mut codel = overloaded();
    for interval in 2..10 {
        let first = interval * 101;
        assert!(!codel.dequeue(at(first), 100 * LONG));
        assert!(codel.dequeue(at(first + 1), LONG));
    }
}

#[test]
fn earlier_time_belongs_to_the_running_interval() {
    let mut codel = overloaded();
    assert!(codel.dequeue(at(0), LONG));
    assert!(codel.dequeue(at(201), LONG));
}

#[test]
fn fresh_codel_keeps_the_settings_and_no_measurements() {
    let codel = overloaded();
    assert!(!codel.fresh().is_overloaded());
    assert_eq!(codel.fresh(), Codel::default());
}

#[test]
fn extreme_options_have_a_meaning() {
    let mut never = Codel::new(SHORT, Duration::ZERO);
    for millis in [0, 0, 1, 1, 1000] {
        assert!(!never.dequeue(at(millis), Duration::MAX) && !never.is_overloaded());
    }

    let mut strict = Codel::new(Duration::ZERO, Duration::from_millis(1));
    let nano = Duration::from_nanos(1);
    let shed = [0, 2, 2].map(|millis| strict.dequeue(at(millis), nano));
    assert_eq!(shed, [false, false, true]);
    assert!(!strict.dequeue(at(2), Duration::ZERO));

    let mut lax = Codel::new(Duration::MAX, Duration::MAX);
    assert!(!lax.dequeue(Nanos::new(u64::MAX), Duration::MAX));
    assert!(!lax.dequeue(Nanos::new(u64::MAX), Duration::MAX));
}

proptest! {
    #[test]
    fn shortest_wait_of_an_interval_judges_the_next(
        events in prop::collection::vec((0..80_u64, 0..20_u64), 1..200),
    ) {
        let mut codel = Codel::default();
        // The waits of each interval, the running one last, with the time it began.
        let mut intervals: Vec<(u64, Vec<u64>)> = Vec::new();
        let mut now = 0;
        for (pause, waited) in events {
            now += pause;
            let shed = codel.dequeue(at(now), Duration::from_millis(waited));
            match intervals.last_mut() {
                Some((began, waits)) if now <= *began + 100 => waits.push(waited),
                _ => intervals.push((now, vec![waited])),
            }
            let before = intervals.len().checked_sub(2).map(|index| &intervals[index].1);
            let overloaded = before.is_some_and(|waits| waits.iter().all(|wait| *wait > 5));
            let first = intervals[intervals.len() - 1].1.len() == 1;
            prop_assert_eq!(codel.is_overloaded(), overloaded);
            prop_assert_eq!(shed, overloaded && !first && waited > 10);
        }
    }
}
