//! Stale entries of the fleet's store.

use buttress_testkit::{Outage, TestError};
use tokio::time::{Instant, sleep};

use crate::{
    replicas::{Fleet, settle},
    source::{Does, constant, exactly, ms, s},
    wire::TRIP,
};

#[tokio::test(start_paused = true)]
async fn stale_entry_is_refreshed_by_one_replica_of_eight() {
    let cache = exactly(s(10)).stale_while_revalidate(s(60));
    let fleet = Fleet::with(8, &cache, |shared| shared);
    assert_eq!(fleet.get_together(50, 7).await, vec![Ok(1); 400]);
    sleep(s(11)).await;
    let asked = Instant::now();
    assert_eq!(fleet.get_together(50, 7).await, vec![Ok(1); 400], "served stale");
    assert!(asked.elapsed() <= 2 * TRIP, "{:?}", asked.elapsed());
    sleep(ms(200)).await;
    assert_eq!(fleet.source.calls(), 2, "one refresh in the fleet");
    sleep(s(1)).await;
    assert_eq!(fleet.get_together(50, 7).await, vec![Ok(2); 400]);
    assert_eq!(fleet.source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn refresh_finds_the_newer_entry_of_another_replica() {
    let cache = exactly(s(10)).stale_while_revalidate(s(60));
    let fleet = Fleet::with(2, &cache, |shared| shared.local_ttl(s(100)));
    assert_eq!(fleet.get_together(1, 7).await, [Ok(1); 2]);
    sleep(s(11)).await;
    assert_eq!(fleet.replica(0).get(7).await, Ok(1));
    sleep(ms(200)).await;
    assert_eq!(fleet.replica(1).get(7).await, Ok(1), "its memory is stale");
    sleep(ms(200)).await;
    assert_eq!(fleet.replica(1).get(7).await, Ok(2));
    assert_eq!(fleet.source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn refresh_that_another_replica_makes_is_not_claimed_again_at_once() {
    let cache = exactly(s(10)).stale_while_revalidate(s(60));
    let fleet = Fleet::with(2, &cache, |shared| shared.local_ttl(s(100)));
    assert_eq!(fleet.get_together(1, 7).await, [Ok(1); 2]);
    sleep(s(11)).await;
    fleet.source.takes(s(1));
    fleet.replica(0).get(7).await.unwrap();
    sleep(ms(20)).await;
    for _ in 0..100 {
        assert_eq!(fleet.replica(1).get(7).await, Ok(1));
        sleep(ms(5)).await;
    }
    assert_eq!(fleet.replica(1).handle.refreshes(), 1);
    assert_eq!(fleet.source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn entry_for_failures_replaces_the_failure_of_a_call_in_another_replica() {
    let cache = exactly(s(10)).stale_if_error(s(60));
    let fleet = Fleet::with(2, &cache, |shared| shared.local_ttl(s(0)));
    assert_eq!(fleet.replica(0).get(7).await, Ok(1));
    sleep(s(11)).await;
    fleet.source.does(Does::Fail(TestError::Failed));
    assert_eq!(fleet.replica(1).get(7).await, Ok(1));
    assert_eq!(fleet.source.calls(), 2, "the call was made first");
    fleet.source.does(Does::Answer);
    settle().await;
    assert_eq!(fleet.replica(1).get(7).await, Ok(3), "and the lock was given back");
}

#[tokio::test(start_paused = true)]
async fn entry_is_as_old_in_another_replica_as_in_its_own() {
    let fleet = Fleet::with(2, &exactly(s(10)), |shared| shared.local_ttl(s(100)));
    assert_eq!(fleet.replica(0).get(7).await, Ok(1));
    sleep(s(9)).await;
    assert_eq!(fleet.replica(1).get(7).await, Ok(1));
    sleep(s(1)).await;
    assert_eq!(fleet.replica(1).get(7).await, Ok(2), "fresh for 10 s in all");
}

#[tokio::test(start_paused = true)]
async fn failed_refresh_gives_the_lock_back_and_waits_for_its_backoff() {
    let cache = exactly(s(10)).stale_while_revalidate(s(60)).refresh_backoff(constant(s(5)));
    let fleet = Fleet::with(1, &cache, |shared| shared.local_ttl(s(100)));
    fleet.replica(0).get(7).await.unwrap();
    sleep(s(11)).await;
    fleet.source.does(Does::Fail(TestError::Failed));
    fleet.replica(0).get(7).await.unwrap();
    sleep(s(1)).await;
    fleet.source.does(Does::Answer);
    fleet.replica(0).get(7).await.unwrap();
    assert_eq!(fleet.source.calls(), 2);
    sleep(s(5)).await;
    assert_eq!(fleet.replica(0).get(7).await, Ok(1));
    sleep(s(1)).await;
    assert_eq!(fleet.replica(0).get(7).await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn stale_entry_in_memory_is_refreshed_by_each_replica_while_the_store_is_away() {
    let cache = exactly(s(10)).stale_while_revalidate(s(60));
    let fleet = Fleet::with(2, &cache, |shared| shared.local_ttl(s(100)));
    assert_eq!(fleet.get_together(1, 7).await, [Ok(1); 2]);
    sleep(s(11)).await;
    fleet.store.begin_outage(Outage::Refused);
    assert_eq!(fleet.get_together(50, 7).await, vec![Ok(1); 100]);
    sleep(ms(200)).await;
    assert_eq!(fleet.source.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn refreshes_of_an_entry_that_is_read_again_keep_their_backoff() {
    let backoff = constant(s(5));
    let cache = exactly(s(10)).stale_while_revalidate(s(60)).refresh_backoff(backoff);
    for local_ttl in [s(0), ms(100)] {
        let fleet = Fleet::with(1, &cache, |shared| shared.local_ttl(local_ttl));
        fleet.replica(0).get(7).await.unwrap();
        sleep(s(11)).await;
        fleet.source.does(Does::Fail(TestError::Failed));
        for _ in 0..40 {
            assert_eq!(fleet.replica(0).get(7).await, Ok(1));
            sleep(ms(200)).await;
        }
        assert_eq!(fleet.replica(0).handle.refreshes(), 2);
    }
}
