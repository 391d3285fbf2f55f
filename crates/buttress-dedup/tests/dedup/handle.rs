//! The numbers of a handle at each stage, and invalidation.

use buttress_dedup::{Cache, DedupLayer, DedupSnapshot};
use buttress_testkit::counts;
use tokio::time::advance;
use tower::Layer;

use crate::support::{failing, in_one_task, ms, outcome, settle, taking, waiting};

#[tokio::test(start_paused = true)]
async fn handle_counts_a_flight_from_start_to_end() {
    let layer = DedupLayer::new();
    let (handle, service) = (layer.handle(), layer.layer(taking(ms(50))));
    assert_eq!(handle.snapshot(), DedupSnapshot::default());
    let leader = waiting(&service, 1);
    let expected = counts!(DedupSnapshot { calls: 1, leaders: 1, in_flight: 1, waiters: 1 });
    assert_eq!(handle.snapshot(), expected);
    let second = waiting(&service, 1);
    let third = waiting(&service, 1);
    let expected =
        counts!(DedupSnapshot { calls: 3, leaders: 1, followers: 2, in_flight: 1, waiters: 3 });
    assert_eq!(handle.snapshot(), expected);
    let other = waiting(&service, 2);
    let expected =
        counts!(DedupSnapshot { calls: 4, leaders: 2, followers: 2, in_flight: 2, waiters: 4 });
    assert_eq!(handle.snapshot(), expected);
    drop(second);
    let expected =
        counts!(DedupSnapshot { calls: 4, leaders: 2, followers: 2, in_flight: 2, waiters: 3 });
    assert_eq!(handle.snapshot(), expected, "a follower that leaves makes no handover");
    drop(leader);
    let expected = counts!(DedupSnapshot {
        calls: 4,
        leaders: 2,
        followers: 2,
        handovers: 1,
        in_flight: 2,
        waiters: 2
    });
    assert_eq!(handle.snapshot(), expected);
    drop(other);
    let expected = counts!(DedupSnapshot {
        calls: 4,
        leaders: 2,
        followers: 2,
        handovers: 1,
        in_flight: 1,
        waiters: 1
    });
    assert_eq!(handle.snapshot(), expected, "the last member that leaves makes no handover");
    advance(ms(50)).await;
    assert_eq!(outcome(third), Ok(1));
    let expected = counts!(DedupSnapshot { calls: 4, leaders: 2, followers: 2, handovers: 1 });
    assert_eq!(handle.snapshot(), expected);
    let expected = counts!(DedupSnapshot { calls: 4, leaders: 2, followers: 2, handovers: 1 });
    assert_eq!(handle.snapshot(), expected);
    assert_eq!(format!("{handle:?}"), format!("DedupHandle({:?})", handle.snapshot()));
}

#[tokio::test(start_paused = true)]
async fn answered_leader_makes_no_handover() {
    let layer = DedupLayer::new();
    let (handle, service) = (layer.handle(), layer.layer(taking(ms(50))));
    let mut calls = [(); 3].map(|()| Some(waiting(&service, 1)));
    advance(ms(50)).await;
    assert_eq!(settle(&mut calls).1, [1; 3].map(Ok));
    let expected = counts!(DedupSnapshot { calls: 3, leaders: 1, followers: 2 });
    assert_eq!(handle.snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn restarted_callers_count_as_leaders_or_followers_again() {
    let layer = DedupLayer::new();
    let (handle, service) = (layer.handle(), layer.layer(failing(ms(50))));
    let mut calls = [(); 3].map(|()| Some(waiting(&service, 1)));
    advance(ms(50)).await;
    settle(&mut calls);
    let expected =
        counts!(DedupSnapshot { calls: 3, leaders: 2, followers: 3, in_flight: 1, waiters: 2 });
    assert_eq!(handle.snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn invalidated_flight_answers_its_waiters_and_takes_no_more() {
    let (layer, upstream) = (DedupLayer::new(), taking(ms(50)));
    let (handle, service) = (layer.handle(), layer.layer(upstream.clone()));
    let (first, second) = (waiting(&service, 1), waiting(&service, 1));
    let other = waiting(&service, 2);
    assert!(handle.invalidate(&1_u32));
    let expected =
        counts!(DedupSnapshot { calls: 3, leaders: 2, followers: 1, in_flight: 1, waiters: 1 });
    assert_eq!(handle.snapshot(), expected);
    let third = waiting(&service, 1);
    assert_eq!(upstream.calls(), 3);
    advance(ms(50)).await;
    assert_eq!(outcome(first), Ok(1));
    assert_eq!(outcome(second), Ok(1));
    assert_eq!(outcome(other), Ok(2));
    assert_eq!(outcome(third), Ok(3));
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn invalidate_all_detaches_every_flight() {
    in_one_task(async {
        let (layer, upstream) = (DedupLayer::new(), taking(ms(50)));
        let (handle, service) = (layer.handle(), layer.layer(upstream.clone()));
        let old: Vec<_> = (0..100).map(|key| waiting(&service, key)).collect();
        assert_eq!(handle.in_flight(), 100);
        handle.invalidate_all();
        assert_eq!(handle.in_flight(), 0);
        assert_eq!(upstream.live(), 100);
        let new: Vec<_> = (0..100).map(|key| waiting(&service, key)).collect();
        advance(ms(50)).await;
        let answers = |calls: Vec<_>| calls.into_iter().map(|call| outcome(call).unwrap());
        assert!(answers(old).eq(1..=100));
        assert!(answers(new).eq(101..=200));
        assert_eq!(handle.in_flight(), 0);
    })
    .await;
}

#[test]
fn handle_shows_whether_the_layer_has_a_cache_and_a_key() {
    let shows = |handle: buttress_dedup::DedupHandle| (handle.has_cache(), handle.is_keyed());
    assert_eq!(shows(DedupLayer::new().handle()), (false, false));
    assert_eq!(shows(DedupLayer::keyed(|n: &u32| Some(*n)).handle()), (false, true));
    let cached = DedupLayer::keyed(|n: &u32| Some(*n)).cache(Cache::new(ms(50)));
    assert_eq!(shows(cached.named("cached").handle()), (true, true));
}

#[tokio::test(start_paused = true)]
async fn invalidate_ignores_keys_of_other_types() {
    let layer = DedupLayer::new();
    let (handle, service) = (layer.handle(), layer.layer(taking(ms(50))));
    assert!(!handle.invalidate(&1_u32), "without a call, the layer knows no type of key");
    let _flying = waiting(&service, 1);
    assert!(!handle.invalidate(&1_u64));
    assert!(!handle.invalidate(&"1"));
    assert_eq!(handle.in_flight(), 1);
    assert!(handle.invalidate(&2_u32), "the type is right, but no call has this key");
    assert_eq!(handle.in_flight(), 1);
}
