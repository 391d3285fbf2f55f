//! The numbers of a handle at each stage, and what it forgets.

use buttress_dedup::{DedupHandle, DedupLayer};
use tokio::time::advance;
use tower::Layer;

use crate::support::{failing, in_one_task, ms, outcome, settle, taking, waiting};

/// Flights, waiters, led, joined and handed over.
fn numbers(handle: &DedupHandle) -> (usize, usize, u64, u64, u64) {
    (handle.in_flight(), handle.waiters(), handle.leaders(), handle.followers(), handle.handovers())
}

#[tokio::test(start_paused = true)]
async fn handle_counts_a_flight_from_start_to_end() {
    let layer = DedupLayer::new();
    let (handle, service) = (layer.handle(), layer.layer(taking(ms(50))));
    assert_eq!(numbers(&handle), (0, 0, 0, 0, 0));
    let leader = waiting(&service, 1);
    assert_eq!(numbers(&handle), (1, 1, 1, 0, 0));
    let second = waiting(&service, 1);
    let third = waiting(&service, 1);
    assert_eq!(numbers(&handle), (1, 3, 1, 2, 0));
    let other = waiting(&service, 2);
    assert_eq!(numbers(&handle), (2, 4, 2, 2, 0));
    drop(second);
    assert_eq!(numbers(&handle), (2, 3, 2, 2, 0), "a follower who leaves hands nothing over");
    drop(leader);
    assert_eq!(numbers(&handle), (2, 2, 2, 2, 1));
    drop(other);
    assert_eq!(numbers(&handle), (1, 1, 2, 2, 1), "nor does a leader who leaves nobody behind");
    advance(ms(50)).await;
    assert_eq!(outcome(third), Ok(1));
    assert_eq!(numbers(&handle), (0, 0, 2, 2, 1));
    assert_eq!(
        (handle.bypassed(), handle.panics(), handle.cache_hits(), handle.cache_entries()),
        (0, 0, 0, 0)
    );
    assert_eq!(format!("{handle:?}"), format!("DedupHandle({:?})", handle.snapshot()));
}

#[tokio::test(start_paused = true)]
async fn answered_leader_makes_no_handover() {
    let layer = DedupLayer::new();
    let (handle, service) = (layer.handle(), layer.layer(taking(ms(50))));
    let mut calls = [(); 3].map(|()| Some(waiting(&service, 1)));
    advance(ms(50)).await;
    assert_eq!(settle(&mut calls).1, [1; 3].map(Ok));
    assert_eq!(numbers(&handle), (0, 0, 1, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn restarted_callers_count_as_leaders_or_followers_again() {
    let layer = DedupLayer::new();
    let (handle, service) = (layer.handle(), layer.layer(failing(ms(50))));
    let mut calls = [(); 3].map(|()| Some(waiting(&service, 1)));
    advance(ms(50)).await;
    settle(&mut calls);
    assert_eq!(numbers(&handle), (1, 2, 2, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn invalidated_flight_answers_its_waiters_and_takes_no_more() {
    let (layer, upstream) = (DedupLayer::new(), taking(ms(50)));
    let (handle, service) = (layer.handle(), layer.layer(upstream.clone()));
    let (first, second) = (waiting(&service, 1), waiting(&service, 1));
    let other = waiting(&service, 2);
    assert!(handle.invalidate(&1_u32));
    assert_eq!(numbers(&handle), (1, 1, 2, 1, 0));
    let third = waiting(&service, 1);
    assert_eq!(upstream.calls(), 3);
    advance(ms(50)).await;
    assert_eq!((outcome(first), outcome(second)), (Ok(1), Ok(1)));
    assert_eq!((outcome(other), outcome(third)), (Ok(2), Ok(3)));
    assert_eq!((handle.in_flight(), upstream.calls()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn invalidate_all_detaches_every_flight() {
    in_one_task(async {
        let (layer, upstream) = (DedupLayer::new(), taking(ms(50)));
        let (handle, service) = (layer.handle(), layer.layer(upstream.clone()));
        let old: Vec<_> = (0..100).map(|key| waiting(&service, key)).collect();
        assert_eq!(handle.in_flight(), 100);
        handle.invalidate_all();
        assert_eq!((handle.in_flight(), upstream.live()), (0, 100));
        let new: Vec<_> = (0..100).map(|key| waiting(&service, key)).collect();
        advance(ms(50)).await;
        let answers = |calls: Vec<_>| calls.into_iter().map(|call| outcome(call).unwrap());
        assert!(answers(old).eq(1..=100));
        assert!(answers(new).eq(101..=200));
        assert_eq!(handle.in_flight(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn invalidate_ignores_keys_of_other_types() {
    let layer = DedupLayer::new();
    let (handle, service) = (layer.handle(), layer.layer(taking(ms(50))));
    assert!(!handle.invalidate(&1_u32), "nobody has called yet, and the layer knows no type");
    let _flying = waiting(&service, 1);
    assert!(!handle.invalidate(&1_u64));
    assert!(!handle.invalidate(&"1"));
    assert_eq!(handle.in_flight(), 1);
    assert!(handle.invalidate(&2_u32), "of the right type, though of no call");
    assert_eq!(handle.in_flight(), 1);
}
