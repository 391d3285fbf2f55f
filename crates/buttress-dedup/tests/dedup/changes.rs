//! Invalidating requests: a later call does not join an earlier flight.

use buttress_core::{By, KeyOf, Plain};
use buttress_dedup::{DedupHandle, DedupLayer, NoCache};
use tokio::time::advance;
use tower::Layer;

use crate::support::{Failure, Upstream, ms, outcome, taking, upstream, waiting};

/// Requests below 100 read. `100 + n` and `200 + n` change all keys whose last digit is that of `n`.
/// `100 + n` has no key, and `200 + n` is shared with equal requests.
#[derive(Clone)]
struct LastDigit;

impl KeyOf<u32> for LastDigit {
    type Key = u32;

    fn key(&self, request: &u32) -> Option<u32> {
        (!(100..200).contains(request)).then_some(*request)
    }

    fn resource(&self, key: &u32) -> Option<u64> {
        Some(hash(*key))
    }

    fn invalidates(&self, request: &u32) -> Option<u64> {
        (*request >= 100).then(|| hash(*request))
    }
}

fn hash(number: u32) -> u64 {
    u64::from(number % 10).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

type Service = buttress_dedup::Dedup<Upstream, Plain, By<LastDigit>, NoCache>;

/// A service without a cache over `upstream`.
fn over(upstream: &Upstream) -> (Service, DedupHandle) {
    let layer = DedupLayer::keyed(LastDigit);
    (layer.layer(upstream.clone()), layer.handle())
}

#[tokio::test(start_paused = true)]
async fn read_after_a_change_joins_no_earlier_flight() {
    for change in [107, 207] {
        let upstream = taking(ms(50));
        let (service, handle) = over(&upstream);
        let change = waiting(&service, change);
        advance(ms(30)).await;
        // These calls come before the change has succeeded, and get the response of their flight.
        let (before, also, other) =
            (waiting(&service, 7), waiting(&service, 7), waiting(&service, 8));
        advance(ms(20)).await;
        assert_eq!(outcome(change), Ok(1));
        let (after, joins, same) =
            (waiting(&service, 7), waiting(&service, 7), waiting(&service, 8));
        advance(ms(30)).await;
        assert_eq!(outcome(before), Ok(2));
        assert_eq!(outcome(also), Ok(2));
        assert_eq!(outcome(other), Ok(3));
        assert_eq!(outcome(same), Ok(3), "an unchanged key keeps its flight");
        // The end of the earlier flight does not remove the later one.
        let last = waiting(&service, 7);
        advance(ms(20)).await;
        assert_eq!(outcome(after), Ok(4));
        assert_eq!(outcome(joins), Ok(4));
        assert_eq!(outcome(last), Ok(4));
        assert_eq!(upstream.calls(), 4);
        assert_eq!(handle.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn each_change_ends_joining_for_every_key_of_its_resource() {
    let upstream = taking(ms(50));
    let (service, handle) = over(&upstream);
    for round in 0..3 {
        let read = [7, 17, 27].map(|key| waiting(&service, key));
        let change = waiting(&service, 107);
        drop(read);
        let read = [7, 17, 27].map(|key| waiting(&service, key));
        advance(ms(50)).await;
        assert!(outcome(change).is_ok());
        let before = upstream.calls();
        let after = [7, 17, 27].map(|key| waiting(&service, key));
        assert_eq!(upstream.calls(), before + 3, "in round {round}");
        drop((read, after));
        assert_eq!(handle.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn failed_change_leaves_flights_open() {
    for change in [107, 207] {
        let upstream =
            upstream(
                ms(50),
                |number| {
                    if number == 1 { Err(Failure::Down(number)) } else { Ok(number) }
                },
            );
        let (service, _) = over(&upstream);
        let change = waiting(&service, change);
        advance(ms(10)).await;
        let before = waiting(&service, 7);
        advance(ms(40)).await;
        assert_eq!(outcome(change), Err(Failure::Down(1)));
        let joins = waiting(&service, 7);
        advance(ms(10)).await;
        assert_eq!(outcome(before), Ok(2));
        assert_eq!(outcome(joins), Ok(2));
    }
}
