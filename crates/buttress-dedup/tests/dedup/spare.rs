//! Spare calls, such as hedges, in a flight.

use buttress_core::Attempt;
use buttress_dedup::DedupLayer;
use tokio::time::advance;
use tower::Layer;

use crate::{
    deadlines::watched,
    support::{call, ms, outcome},
};

/// C2
#[tokio::test(start_paused = true)]
async fn spare_call_joins_a_flight_like_any_other_call() {
    let (watched, seen) = watched();
    let layer = DedupLayer::new();
    let service = layer.layer(watched);
    let mut leader = call(&service, 1);
    assert!(leader.poll().is_pending());
    let hedge = Attempt::FIRST.next().spare();
    let mut follower = call(&service, 1);
    assert!(hedge.with(|| follower.poll()).is_pending());
    let handle = layer.handle();
    assert_eq!((handle.snapshot().leaders, handle.snapshot().followers), (1, 1));
    drop(leader);
    for _ in 0..4 {
        advance(ms(10)).await;
        assert!(hedge.with(|| follower.poll()).is_pending());
    }
    advance(ms(10)).await;
    assert_eq!(hedge.with(|| outcome(follower)).unwrap(), 1);
    assert!(seen.lock().unwrap().iter().all(|(_, _, attempt)| *attempt == Attempt::FIRST));
}

#[tokio::test(start_paused = true)]
async fn flight_of_a_spare_leader_is_spare_until_another_call_needs_it() {
    let (watched, seen) = watched();
    let service = DedupLayer::new().layer(watched);
    let hedge = Attempt::FIRST.next().spare();
    for _ in 0..2 {
        seen.lock().unwrap().clear();
        let mut leader = call(&service, 1);
        assert!(hedge.with(|| leader.poll()).is_pending());
        let mut other_hedge = call(&service, 1);
        assert!(hedge.with(|| other_hedge.poll()).is_pending());
        advance(ms(10)).await;
        assert!(hedge.with(|| leader.poll()).is_pending());
        let mut follower = call(&service, 1);
        assert!(follower.poll().is_pending());
        advance(ms(10)).await;
        assert!(hedge.with(|| leader.poll()).is_pending());
        let attempts: Vec<_> = seen.lock().unwrap().iter().map(|terms| terms.2).collect();
        assert_eq!(attempts, [hedge, hedge, hedge.not_spare()]);
        // Ends alone, as a flight does whose memory the next flight reuses.
        drop((follower, other_hedge));
        while hedge.with(|| leader.poll()).is_pending() {
            advance(ms(10)).await;
        }
    }
}
