//! The slots of a fleet's rate: cells that are taken without a lock, each grant with its own end.
#![cfg(not(buttress_loom))]

#[path = "../src/fleet/slots.rs"]
mod slots;

use buttress_control::Nanos;

use self::slots::{LeaseSlots, Taken};

/// The most cells of a slot: 20 bits.
const MAX_CELLS: u32 = (1 << 20) - 1;

fn at(millis: u64) -> Nanos {
    Nanos::new(millis << 20)
}

#[test]
fn call_takes_of_one_grant_and_the_next_becomes_current() {
    let slots = LeaseSlots::new();
    assert_eq!(slots.take(at(0), 1), None);
    assert_eq!(slots.put(at(0), 5, at(10)), 0);
    assert_eq!(slots.put(at(0), 4, at(20)), 0);
    assert_eq!(slots.take(at(0), 3), Some(Taken { left: 6, has_room: false }));
    assert_eq!(slots.take(at(0), 4), Some(Taken { left: 2, has_room: false }), "of the next");
    assert_eq!(slots.take(at(0), 2), Some(Taken { left: 0, has_room: true }));
    assert_eq!(slots.take(at(0), 1), None);
}

#[test]
fn cells_of_two_grants_are_taken_together_under_the_lock_only() {
    let slots = LeaseSlots::new();
    slots.put(at(0), 5, at(10));
    slots.put(at(0), 4, at(20));
    assert_eq!(slots.take(at(0), 7), None);
    assert_eq!(slots.take_of_both(at(0), 10), None);
    assert_eq!(slots.held(at(0)), 9, "nothing is lost");
    assert_eq!(slots.take_of_both(at(0), 7), Some(at(10)));
    assert_eq!(slots.take_of_both(at(0), 2), Some(at(20)));
}

#[test]
fn cells_end_at_their_time_and_are_counted() {
    let slots = LeaseSlots::new();
    slots.put(at(0), 5, at(10));
    slots.put(at(0), 4, at(20));
    assert_eq!(slots.take(at(10), 1), Some(Taken { left: 3, has_room: true }));
    assert_eq!(slots.drop_ended(at(10)), 5);
    assert_eq!(slots.drop_ended(at(10)), 0);
    assert_eq!(slots.take(at(20), 1), None);
    assert_eq!(slots.put(at(20), 7, at(30)), 0);
    assert_eq!(slots.put(at(20), 8, at(30)), 3, "the grant that has ended makes room");
}

#[test]
fn end_is_rounded_down_to_a_step() {
    let slots = LeaseSlots::new();
    slots.put(at(0), 1, Nanos::new((3 << 16) + 65_535));
    assert_eq!(slots.held(Nanos::new((3 << 16) - 1)), 1);
    assert_eq!(slots.held(Nanos::new(3 << 16)), 0);
    slots.put(at(0), u32::MAX, Nanos::new(u64::MAX));
    assert_eq!(slots.held(at(1)), MAX_CELLS, "no more than 20 bits");
}

#[test]
fn unused_cells_return_to_their_grant_or_to_an_empty_slot() {
    let slots = LeaseSlots::new();
    slots.put(at(0), 5, at(10));
    assert!(slots.put_back(at(0), 2, at(10)));
    assert!(slots.put_back(at(0), 3, at(20)));
    assert!(!slots.put_back(at(0), 3, at(30)), "both slots hold other grants");
    assert!(!slots.put_back(at(20), 3, at(20)), "the cells have ended");
    assert_eq!(slots.held(at(0)), 10);
}
