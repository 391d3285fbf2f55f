//! Errors of flights with several waiters.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use buttress_core::Rejection;
use buttress_dedup::DedupLayer;
use tokio::{
    task::JoinSet,
    time::{Instant, advance, sleep},
};
use tower::{Layer, ServiceExt};

use crate::support::{Failure, call, failing, ms, outcome, settle, upstream, waiting};

#[tokio::test(start_paused = true)]
async fn error_goes_to_the_leader_and_followers_call_one_after_another() {
    let (layer, upstream) = (DedupLayer::new(), failing(ms(50)));
    let service = layer.layer(upstream.clone());
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..5 {
        let service = service.clone();
        callers.spawn(async move { (service.oneshot(1).await, start.elapsed()) });
    }
    sleep(ms(51)).await;
    assert_eq!(upstream.calls(), 2);
    assert_eq!(upstream.live(), 1, "one at a time");
    let mut outcomes = callers.join_all().await;
    outcomes.sort_by_key(|(_, at)| *at);
    let each = [1, 2, 3, 4, 5].map(|n| (Err(Failure::Down(n)), ms(50 * n as u64)));
    assert_eq!(outcomes, each);
    assert_eq!(upstream.calls(), 5);
    assert_eq!(layer.handle().leaders(), 5);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn first_success_after_errors_serves_all_remaining_waiters() {
    let upstream = upstream(ms(50), |n| if n < 3 { Err(Failure::Down(n)) } else { Ok(n) });
    let service = DedupLayer::new().layer(upstream.clone());
    let mut calls: Vec<_> = (0..5).map(|_| Some(waiting(&service, 1))).collect();
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        advance(ms(50)).await;
        outcomes.extend(settle(&mut calls).1);
    }
    let down = |n| Err(Failure::Down(n));
    assert_eq!(outcomes, [down(1), down(2), Ok(3), Ok(3), Ok(3)]);
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn restarted_follower_joins_a_flight_started_in_the_meantime() {
    let upstream = upstream(ms(50), |n| if n < 2 { Err(Failure::Down(n)) } else { Ok(n) });
    let service = DedupLayer::new().layer(upstream.clone());
    let (first, second) = (waiting(&service, 1), waiting(&service, 1));
    advance(ms(50)).await;
    assert_eq!(outcome(first), Err(Failure::Down(1)));
    let newcomer = waiting(&service, 1);
    let mut second = [Some(second)];
    assert_eq!(settle(&mut second), (1, vec![]));
    assert_eq!(upstream.calls(), 2);
    advance(ms(50)).await;
    assert_eq!(outcome(newcomer), Ok(2));
    assert_eq!(settle(&mut second), (1, vec![Ok(2)]));
}

#[tokio::test(start_paused = true)]
async fn error_goes_to_a_follower_when_the_leader_left() {
    let upstream = failing(ms(50));
    let service = DedupLayer::new().layer(upstream.clone());
    let (first, second) = (waiting(&service, 1), waiting(&service, 1));
    advance(ms(10)).await;
    drop(first);
    advance(ms(40)).await;
    assert_eq!(outcome(second), Err(Failure::Down(1)));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn error_goes_to_only_one_follower_when_the_leader_left() {
    let upstream = failing(ms(50));
    let service = DedupLayer::new().layer(upstream.clone());
    let first = waiting(&service, 1);
    let mut others = [(); 3].map(|()| Some(waiting(&service, 1)));
    drop(first);
    advance(ms(50)).await;
    assert_eq!(settle(&mut others).1, [Err(Failure::Down(1))]);
    assert_eq!(upstream.calls(), 2);
    advance(ms(100)).await;
    assert_eq!(settle(&mut others).1, [Err(Failure::Down(2))]);
    advance(ms(100)).await;
    assert_eq!(settle(&mut others).1, [Err(Failure::Down(3))]);
}

#[tokio::test(start_paused = true)]
async fn error_is_held_for_the_leader_until_the_leader_polls() {
    let upstream = upstream(ms(50), |n| if n < 2 { Err(Failure::Down(n)) } else { Ok(n) });
    let service = DedupLayer::new().layer(upstream.clone());
    let (leader, follower) = (waiting(&service, 1), waiting(&service, 1));
    advance(ms(50)).await;
    let mut follower = [Some(follower)];
    assert_eq!(settle(&mut follower).1, []);
    advance(ms(50)).await;
    assert_eq!(settle(&mut follower).1, [Ok(2)]);
    assert_eq!(outcome(leader), Err(Failure::Down(1)));
}

#[tokio::test(start_paused = true)]
async fn shared_error_serves_all_waiters_with_one_call() {
    let upstream = failing(ms(50));
    let service = DedupLayer::new().share_errors().layer(upstream.clone());
    let mut calls = [(); 5].map(|()| Some(waiting(&service, 1)));
    advance(ms(50)).await;
    assert_eq!(settle(&mut calls).1, [1; 5].map(|n| Err(Failure::Down(n))));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn shared_error_serves_all_waiters_when_the_leader_left() {
    let upstream = failing(ms(50));
    let service = DedupLayer::new().share_errors().layer(upstream.clone());
    let first = waiting(&service, 1);
    let mut others = [(); 3].map(|()| Some(waiting(&service, 1)));
    drop(first);
    advance(ms(50)).await;
    assert_eq!(settle(&mut others).1, [1; 3].map(|n| Err(Failure::Down(n))));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn error_is_shared_only_when_the_users_function_returns_a_copy() {
    let upstream = failing(ms(50));
    // The errors of odd calls are shared, and those of even calls are not.
    let share = |error: &Failure| match error {
        Failure::Down(n) if n % 2 == 1 => Some(Failure::Down(n + 100)),
        Failure::Down(n) if *n > 100 => Some(error.clone()),
        _ => None,
    };
    let service = DedupLayer::new().share_errors_with(share).layer(upstream.clone());
    let down = |n| Err(Failure::Down(n));
    let mut calls = [(); 3].map(|()| Some(waiting(&service, 1)));
    advance(ms(50)).await;
    let outcomes = settle(&mut calls).1;
    assert_eq!(outcomes[0], down(1), "the leader gets the service's own error");
    assert_eq!(outcomes.len(), 3);
    assert_eq!(upstream.calls(), 1);
    let mut calls = [(); 2].map(|()| Some(waiting(&service, 1)));
    advance(ms(50)).await;
    assert_eq!(settle(&mut calls).1, [down(2)]);
    advance(ms(50)).await;
    assert_eq!(settle(&mut calls).1, [down(3)]);
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn error_of_a_lone_caller_is_not_copied() {
    let share = |_: &Failure| -> Option<Failure> { unreachable!("nobody else asks") };
    let service = DedupLayer::new().share_errors_with(share).layer(failing(ms(0)));
    assert_eq!(call(&service, 1).await, Err(Failure::Down(1)));
}

#[tokio::test(start_paused = true)]
async fn inner_call_is_dropped_before_its_error_is_shared() {
    let upstream = failing(ms(50));
    let looked = upstream.clone();
    let share = move |error: &Failure| {
        assert_eq!(looked.live(), 0);
        Some(error.clone())
    };
    let service = DedupLayer::new().share_errors_with(share).layer(upstream.clone());
    let mut calls = [(); 2].map(|()| Some(waiting(&service, 1)));
    advance(ms(50)).await;
    assert_eq!(settle(&mut calls).1, [1; 2].map(|n| Err(Failure::Down(n))));
}

#[tokio::test(start_paused = true)]
async fn unshared_error_is_dropped_with_its_last_waiter() {
    let (kept, layer) = (Arc::new(()), DedupLayer::new());
    let error = Arc::clone(&kept);
    let service = layer.layer(failing(ms(50)).map_err(move |_| Held(Arc::clone(&error))));
    let idle = Arc::strong_count(&kept);
    let mut calls = [(); 3].map(|()| Some(waiting(&service, 1)));
    for left in [2, 1, 0] {
        advance(ms(50)).await;
        assert_eq!(settle(&mut calls).1.len(), 1);
        // Each remaining caller holds a service, and its flight holds another.
        assert_eq!(Arc::strong_count(&kept) > idle, left > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn error_that_can_no_longer_be_shared_is_dropped_with_its_last_waiter() {
    let (kept, shared) = (Arc::new(()), Arc::new(AtomicUsize::new(0)));
    let error = Arc::clone(&kept);
    let share = move |Held(error): &Held| {
        (shared.fetch_add(1, SeqCst) == 0).then(|| Held(Arc::clone(error)))
    };
    let layer = DedupLayer::new().share_errors_with(share);
    let upstream = upstream(ms(50), |n| if n > 1 { Ok(n) } else { Err(Failure::Down(n)) });
    let service = layer.layer(upstream.map_err(move |_| Held(Arc::clone(&error))));
    let idle = Arc::strong_count(&kept);
    let mut calls = [(); 2].map(|()| Some(waiting(&service, 1)));
    advance(ms(50)).await;
    assert!(settle(&mut calls).1.pop().is_some_and(|outcome| outcome.is_err()));
    advance(ms(50)).await;
    assert!(settle(&mut calls).1.pop().is_some_and(|outcome| outcome.is_ok()));
    assert_eq!(Arc::strong_count(&kept), idle);
}

/// An error whose clones can be counted.
#[derive(Debug)]
struct Held(Arc<()>);

impl From<Rejection> for Held {
    fn from(_: Rejection) -> Self {
        unreachable!("nothing is rejected here")
    }
}
