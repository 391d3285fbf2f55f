//! Flights: one inner call for all concurrent callers of a key.

use std::sync::{Arc, OnceLock};

use buttress_dedup::{DedupLayer, DedupSnapshot};
use buttress_testkit::{Script, counts};
use futures_util::future::join_all;
use tokio::{
    task::JoinSet,
    time::{Instant, advance, sleep},
};
use tokio_test::assert_pending;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneService};

use crate::support::{Failure, failing, ms, outcome, settle, taking, waiting};

/// golang.org/x/sync, `singleflight_test.go`.
#[tokio::test(start_paused = true)]
async fn ten_calls_of_one_key_share_one_call_and_its_response() {
    let (layer, upstream) = (DedupLayer::new(), taking(ms(50)));
    let service = layer.layer(upstream.clone());
    let start = Instant::now();
    let all = join_all((0..10).map(|_| service.clone().oneshot(7))).await;
    assert!(all.iter().all(|answer| *answer == Ok(1)));
    assert_eq!(upstream.calls(), 1);
    assert_eq!(start.elapsed(), ms(50));
    let expected = counts!(DedupSnapshot { calls: 10, leaders: 1, followers: 9 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn calls_of_different_keys_are_not_shared() {
    let upstream = taking(ms(50));
    let service = DedupLayer::keyed(|n: &u32| Some(n % 2)).layer(upstream.clone());
    let mut all = join_all((0..6).map(|n| service.clone().oneshot(n))).await;
    all.sort_by_key(|answer| *answer.as_ref().unwrap());
    assert_eq!(all, [1, 1, 1, 2, 2, 2].map(Ok));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn call_after_the_response_starts_a_new_flight() {
    let upstream = taking(ms(50));
    let service = DedupLayer::new().layer(upstream.clone());
    let (mut first, second) = (waiting(&service, 1), waiting(&service, 1));
    advance(ms(50)).await;
    assert_eq!(first.poll().map(Result::unwrap), std::task::Poll::Ready(1));
    // The second caller has not read the response yet.
    let third = waiting(&service, 1);
    assert_eq!(outcome(second), Ok(1));
    advance(ms(50)).await;
    assert_eq!(outcome(third), Ok(2));
}

/// golang.org/x/sync, `TestForget`.
#[tokio::test(start_paused = true)]
async fn invalidated_flight_that_ends_does_not_remove_its_successor() {
    let (layer, upstream) = (DedupLayer::new(), taking(ms(50)));
    let service = layer.layer(upstream.clone());
    let first = waiting(&service, 1);
    advance(ms(10)).await;
    assert!(layer.handle().invalidate(&1_u32));
    let second = waiting(&service, 1);
    assert_eq!(upstream.calls(), 2);
    advance(ms(40)).await;
    assert_eq!(outcome(first), Ok(1));
    let third = waiting(&service, 1);
    assert_eq!(upstream.calls(), 2);
    assert_eq!(layer.handle().in_flight(), 1);
    advance(ms(10)).await;
    assert_eq!(outcome(second), Ok(2));
    assert_eq!(outcome(third), Ok(2));
    assert_eq!(upstream.calls(), 2);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn invalidated_flight_that_is_abandoned_does_not_remove_its_successor() {
    let (layer, upstream) = (DedupLayer::new(), taking(ms(50)));
    let service = layer.layer(upstream.clone());
    let first = waiting(&service, 1);
    layer.handle().invalidate_all();
    let second = waiting(&service, 1);
    drop(first);
    let third = waiting(&service, 1);
    assert_eq!(upstream.calls(), 2);
    assert_eq!(upstream.live(), 1);
    advance(ms(50)).await;
    assert_eq!(outcome(second), Ok(2));
    assert_eq!(outcome(third), Ok(2));
}

/// golang.org/x/sync, `TestGoexitDo`; moka, `value_initializer.rs`.
#[tokio::test(start_paused = true)]
async fn follower_takes_over_when_the_leader_is_aborted() {
    let upstream = taking(ms(50));
    let service = DedupLayer::new().layer(upstream.clone());
    let leader = tokio::spawn(service.clone().oneshot(1));
    tokio::task::yield_now().await;
    let mut others = JoinSet::new();
    for _ in 0..5 {
        others.spawn(service.clone().oneshot(1));
    }
    sleep(ms(10)).await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    assert_eq!(others.join_all().await, [1; 5].map(Ok));
    assert_eq!(upstream.calls(), 1);
}

/// authzed/spicedb#925, buildbuddy#7199.
#[tokio::test(start_paused = true)]
async fn follower_gets_the_response_on_time_when_the_leader_leaves() {
    let (layer, upstream) = (DedupLayer::new(), taking(ms(50)));
    let service = layer.layer(upstream.clone());
    let (leader, follower) = (waiting(&service, 1), waiting(&service, 1));
    advance(ms(10)).await;
    drop(leader);
    let start = Instant::now();
    assert_eq!(follower.await, Ok(1));
    assert_eq!(start.elapsed(), ms(40));
    assert_eq!(upstream.calls(), 1);
    assert_eq!(layer.handle().handovers(), 1);
}

/// tailscale#12003, buildbuddy#7199.
#[tokio::test(start_paused = true)]
async fn inner_call_is_dropped_when_all_callers_leave() {
    let (layer, upstream) = (DedupLayer::new(), taking(ms(50)));
    let service = layer.layer(upstream.clone());
    let calls = [waiting(&service, 1), waiting(&service, 1), waiting(&service, 1)];
    advance(ms(20)).await;
    assert_eq!(upstream.live(), 1);
    assert_eq!(layer.handle().in_flight(), 1);
    drop(calls);
    assert_eq!(upstream.live(), 0);
    assert_eq!(layer.handle().in_flight(), 0);
}

/// tailscale#18919, GetStream/stream-video-android#1764.
#[tokio::test(start_paused = true)]
async fn new_caller_starts_a_flight_after_all_callers_left() {
    let upstream = taking(ms(50));
    let service = DedupLayer::new().layer(upstream.clone());
    drop([waiting(&service, 1), waiting(&service, 1)]);
    let start = Instant::now();
    assert_eq!(service.oneshot(1).await, Ok(2));
    assert_eq!(start.elapsed(), ms(50));
    assert_eq!(upstream.calls(), 2);
}

/// A destructor that makes calls with the key of the flight that drops it.
struct Newcomer(Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>);

impl Drop for Newcomer {
    fn drop(&mut self) {
        if let Some(call) = self.0.get() {
            call();
        }
    }
}

/// tailscale#18919, GetStream/stream-video-android#1764.
#[tokio::test(start_paused = true)]
async fn new_caller_starts_a_flight_while_the_last_caller_leaves() {
    let layer = DedupLayer::new();
    let coming = Arc::<OnceLock<_>>::default();
    let comes = Arc::clone(&coming);
    let service = layer.layer(service_fn(move |_: u32| {
        let newcomer = Newcomer(Arc::clone(&comes));
        async move {
            sleep(ms(50)).await;
            // Only an abandoned call makes new ones.
            std::mem::forget(newcomer);
            Ok::<_, Failure>(7)
        }
    }));
    let service = BoxCloneService::new(service);
    let leaving = waiting(&service, 1);
    let came = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (new, place) = (std::sync::Mutex::new(service.clone()), Arc::clone(&came));
    let comes: Box<dyn Fn() + Send + Sync> = Box::new(move || {
        let service = new.lock().unwrap().clone();
        let two = [waiting(&service, 1), waiting(&service, 1)];
        place.lock().unwrap().extend(two);
    });
    assert!(coming.set(comes).is_ok());
    drop(leaving);
    let mut newcomers = std::mem::take(&mut *came.lock().unwrap());
    let expected =
        counts!(DedupSnapshot { calls: 3, leaders: 2, followers: 1, in_flight: 1, waiters: 2 });
    assert_eq!(layer.handle().snapshot(), expected);
    // The earlier flight is out of the table, and the new one is in it.
    newcomers.push(waiting(&service, 1));
    assert_eq!(layer.handle().followers(), 2);
    advance(ms(50)).await;
    assert_eq!(newcomers.len(), 3);
    for newcomer in newcomers {
        assert_eq!(outcome(newcomer), Ok(7));
    }
}

/// janos/singleflight#4.
#[tokio::test(start_paused = true)]
async fn leaving_caller_does_not_affect_the_four_others() {
    let upstream = taking(ms(50));
    let service = DedupLayer::new().layer(upstream.clone());
    for leaver in 0..5 {
        let calls = upstream.calls();
        let mut five = [(); 5].map(|()| Some(waiting(&service, 1)));
        advance(ms(10)).await;
        five[leaver] = None;
        let mut follower = [Some(waiting(&service, 1))];
        advance(ms(40)).await;
        let answers = settle(&mut five).1;
        assert_eq!(answers, [calls + 1; 4].map(Ok), "when {leaver} leaves");
        assert_eq!(settle(&mut follower).1, [Ok(calls + 1)]);
        assert_eq!(upstream.calls(), calls + 1);
    }
}

/// redis/rueidis#1014.
#[tokio::test(start_paused = true)]
async fn follower_of_a_failed_call_gets_its_error() {
    let service = DedupLayer::new().share_errors().layer(failing(ms(50)));
    let (first, second) = (waiting(&service, 1), waiting(&service, 1));
    advance(ms(50)).await;
    assert_eq!(outcome(first), Err(Failure::Down(1)));
    assert_eq!(outcome(second), Err(Failure::Down(1)));
}

#[tokio::test(start_paused = true)]
async fn call_without_a_key_bypasses_deduplication() {
    let upstream = taking(ms(50));
    let layer = DedupLayer::keyed(|n: &u32| (*n > 0).then_some(*n));
    let service = layer.layer(upstream.clone());
    let mut answers = join_all((0..4).map(|_| service.clone().oneshot(0))).await;
    answers.sort_by_key(|answer| *answer.as_ref().unwrap());
    assert_eq!(answers, [1, 2, 3, 4].map(Ok));
    let handle = layer.handle();
    assert_eq!(handle.snapshot(), counts!(DedupSnapshot { calls: 4, bypassed: 4 }));
}

#[tokio::test(start_paused = true)]
async fn unpolled_call_makes_no_inner_call_and_leaves_no_flight() {
    let (layer, upstream) = (DedupLayer::new(), taking(ms(50)));
    let mut service = layer.layer(upstream.clone());
    let unpolled = tower_service::Service::call(&mut service, 1);
    assert_eq!(upstream.calls(), 0);
    assert_eq!(layer.handle().in_flight(), 1);
    drop(unpolled);
    assert_eq!(upstream.calls(), 0);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn hanging_call_does_not_block_other_keys() {
    let upstream = Script::new().hang().answer(Ok::<u32, Failure>).service();
    let service = DedupLayer::new().layer(upstream.clone());
    let mut hanging = waiting(&service, 1);
    assert_eq!(service.clone().oneshot(2).await, Ok(2));
    assert_pending!(hanging.poll());
}

#[tokio::test(start_paused = true)]
async fn response_is_dropped_with_its_last_waiter() {
    let (kept, layer) = (Arc::new(()), DedupLayer::new());
    let answer = Arc::clone(&kept);
    let service = layer.layer(taking(ms(50)).map_response(move |_| Arc::clone(&answer)));
    let idle = Arc::strong_count(&kept);
    let [first, second, third] = [(); 3].map(|()| waiting(&service, 1));
    advance(ms(50)).await;
    drop((outcome(first), second));
    drop(outcome(third));
    // Only the copies inside the service remain.
    assert_eq!(Arc::strong_count(&kept), idle);
}
