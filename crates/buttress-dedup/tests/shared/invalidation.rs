//! Invalidation across replicas.

use buttress_testkit::Outage;
use tokio::time::{Instant, sleep};

use crate::{
    replicas::{Fleet, settle},
    source::{exactly, ms, s},
    wire::TRIP,
};

#[tokio::test(start_paused = true)]
async fn invalidation_reaches_other_replicas_within_local_ttl() {
    let fleet = Fleet::with(2, &exactly(s(60)), |shared| shared.local_ttl(ms(500)));
    assert_eq!(fleet.get_together(1, 7).await, [Ok(1); 2]);
    assert!(fleet.replica(0).handle.invalidate(&7_u32));
    assert_eq!(fleet.replica(1).get(7).await, Ok(1), "from memory");
    assert_eq!(fleet.replica(0).get(7).await, Ok(2), "at once in the replica itself");
    sleep(ms(500)).await;
    assert_eq!(fleet.replica(1).get(7).await, Ok(2));
    assert_eq!(fleet.source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn replica_serves_no_older_entry_while_its_invalidation_is_on_the_way() {
    let fleet = Fleet::new(2);
    assert_eq!(fleet.replica(0).get(7).await, Ok(1));
    settle().await;
    fleet.store.set_delay(ms(20));
    fleet.replica(1).get(7).await.unwrap();
    fleet.replica(1).handle.invalidate(&7_u32);
    let began = Instant::now();
    assert_eq!(fleet.replica(1).get(7).await, Ok(2));
    assert_eq!(began.elapsed(), ms(20 + 20 + 50), "waits for the invalidation, then leads");
}

#[tokio::test(start_paused = true)]
async fn result_of_an_invalidated_flight_is_superseded_and_its_caller_has_the_response() {
    let fleet = Fleet::new(2);
    let leader = fleet.replica(0).spawn(7);
    sleep(ms(20)).await;
    // A call on the other replica, so that it knows the type of the keys.
    fleet.replica(1).get(8).await.unwrap();
    let late = fleet.replica(0).spawn(9);
    sleep(ms(10)).await;
    fleet.replica(1).handle.invalidate(&9_u32);
    assert_eq!(leader.await.unwrap(), Ok(1));
    assert_eq!(late.await.unwrap(), Ok(3));
    settle().await;
    assert_eq!(fleet.replica(0).handle.snapshot().superseded, 1);
    assert_eq!(fleet.replica(1).get(9).await, Ok(4), "the older result is not found");
}

#[tokio::test(start_paused = true)]
async fn invalidation_waits_while_the_store_is_away() {
    let fleet = Fleet::with(2, &exactly(s(60)), |shared| shared.local_ttl(ms(100)));
    assert_eq!(fleet.get_together(1, 7).await, [Ok(1); 2]);
    settle().await;
    fleet.store.begin_outage(Outage::Silent);
    fleet.replica(0).handle.invalidate(&7_u32);
    assert_eq!(fleet.replica(0).get(7).await, Ok(2), "not the entry of the store");
    sleep(s(1)).await;
    fleet.store.end_outage();
    // The store still has the older value, and is asked for it before it hears of the invalidation.
    assert_eq!(fleet.replica(0).get(7).await, Ok(3));
    sleep(ms(200)).await;
    assert_eq!(fleet.replica(1).get(7).await, Ok(4), "the other replica misses too");
    sleep(ms(200)).await;
    assert_eq!(fleet.replica(0).get(7).await, Ok(4));
}

#[tokio::test(start_paused = true)]
async fn too_many_waiting_invalidations_invalidate_all() {
    let fleet = Fleet::with(2, &exactly(s(600)), |shared| shared.local_ttl(ms(100)));
    assert_eq!(fleet.get_together(1, 7).await, [Ok(1); 2]);
    settle().await;
    fleet.store.begin_outage(Outage::Refused);
    for key in 1_000..2_100_u32 {
        fleet.replica(0).handle.invalidate(&key);
    }
    settle().await;
    fleet.store.end_outage();
    sleep(ms(300)).await;
    assert_eq!(fleet.replica(1).get(7).await, Ok(2), "its entry went with the others");
}

#[tokio::test(start_paused = true)]
async fn invalidate_all_reaches_other_replicas() {
    let fleet = Fleet::with(2, &exactly(s(60)), |shared| shared.local_ttl(ms(100)));
    assert_eq!(fleet.get_together(1, 7).await, [Ok(1); 2]);
    settle().await;
    fleet.replica(0).handle.invalidate_all();
    assert_eq!(fleet.replica(0).get(7).await, Ok(2));
    sleep(ms(100)).await;
    assert_eq!(fleet.replica(1).get(7).await, Ok(2));
}

#[test]
fn invalidation_outside_a_runtime_is_sent_with_the_next_read() {
    let build = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    let runtime = build();
    let fleet = runtime.block_on(async {
        let fleet = Fleet::with(2, &exactly(s(60)), |shared| shared.local_ttl(ms(100)));
        assert_eq!(fleet.get_together(1, 7).await, [Ok(1); 2]);
        settle().await;
        fleet
    });
    fleet.replica(0).handle.invalidate(&7_u32);
    runtime.block_on(async {
        assert_eq!(fleet.replica(0).get(7).await, Ok(2));
        sleep(TRIP + ms(100)).await;
        assert_eq!(fleet.replica(1).get(7).await, Ok(3));
    });
}
