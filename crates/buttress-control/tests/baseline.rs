//! The baseline: how an adaptive law measures the time of a call that waits for no other.
#![cfg(not(buttress_loom))]

use std::time::Duration;

use buttress_control::{Adapt, Nanos, Sample, Vegas};

const MS: Duration = Duration::from_millis(1);

/// Calls that take as many milliseconds as they do, always as many at a time as the limit.
struct Calls {
    law: Vegas,
    now: Duration,
    rtt: Duration,
}

impl Calls {
    fn new(law: Vegas, millis: u32) -> Self {
        Self { law, now: Duration::from_secs(3600), rtt: millis * MS }
    }

    fn call(&mut self, dropped: bool) -> u32 {
        let in_flight = self.law.limit();
        self.now += self.rtt / in_flight;
        let started = Nanos::from(self.now.saturating_sub(self.rtt));
        self.law.learn(Sample::new(started, self.rtt, in_flight, dropped))
    }

    /// The limits after each of so many calls.
    fn limits(&mut self, calls: u32) -> Vec<u32> {
        (0..calls).map(|_| self.call(false)).collect()
    }

    /// Goes on until the limit is halved.
    fn until_probed(&mut self) {
        let before = self.law.limit();
        while self.call(false) >= before {}
    }
}

#[test]
fn probe_halves_the_limit_and_restores_the_limit() {
    let mut calls = Calls::new(Vegas::default().max(20), 10);
    let limits = calls.limits(100_000);
    let probed = limits.iter().filter(|limit| **limit == 10).count();
    assert!(limits.iter().all(|limit| [10, 20].contains(limit)));
    assert!((1000..4000).contains(&probed), "{probed} of 100,000 calls were in probes");
}

#[test]
fn probe_keeps_the_minimum() {
    let mut calls = Calls::new(Vegas::default().min(15).max(20), 10);
    assert_eq!(calls.limits(10_000).into_iter().min(), Some(15));
}

#[test]
fn probe_with_drops_measures_nothing() {
    let mut calls = Calls::new(Vegas::default().max(20), 10);
    calls.until_probed();
    assert_eq!(calls.law.limit(), 10);
    calls.limits(50);
    calls.rtt = 100 * MS;
    while calls.call(true) == 10 {}
    assert_eq!(calls.law.limit(), 18, "two below the limit of before");
    assert_eq!(calls.law.learned(), Some(10 * MS));
}

#[test]
fn limit_that_cannot_be_halved_measures_all_the_time() {
    let mut calls = Calls::new(Vegas::default().max(1), 10);
    calls.limits(1000);
    calls.rtt = 12 * MS;
    assert_eq!(calls.limits(1000), [1; 1000]);
    let learned = calls.law.learned();
    assert!(learned > Some(Duration::from_micros(11_900)), "{learned:?}");
}

#[test]
fn slightly_slower_service_raises_the_baseline_in_time() {
    let mut calls = Calls::new(Vegas::default().max(20), 10);
    calls.limits(50_000);
    calls.rtt = 12 * MS;
    calls.limits(50_000);
    let learned = calls.law.learned();
    assert!(learned > Some(Duration::from_micros(11_900)), "{learned:?}");
}

#[test]
fn much_faster_service_lowers_the_baseline_at_once() {
    let mut calls = Calls::new(Vegas::default().max(20), 10);
    calls.limits(50_000);
    calls.rtt = 3 * MS;
    calls.limits(500);
    assert_eq!(calls.law.learned(), Some(3 * MS));
}

#[test]
fn undrained_queue_is_believed_by_a_quarter() {
    let mut calls = Calls::new(Vegas::default().max(20), 10);
    calls.until_probed();
    calls.rtt = 100 * MS;
    while calls.call(false) == 10 {}
    assert_eq!(calls.law.learned(), Some(Duration::from_micros(12_500)));
}
