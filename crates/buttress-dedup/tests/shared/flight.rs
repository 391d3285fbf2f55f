//! Calls of all replicas for a key at once.

use buttress_testkit::Outage;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    replicas::{Fleet, settle},
    source::{Does, exactly, ms, s},
};

#[tokio::test(start_paused = true)]
async fn missed_key_costs_one_call_in_the_fleet() {
    let fleet = Fleet::new(8);
    let began = Instant::now();
    let outcomes = fleet.get_together(50, 7).await;
    assert_eq!(outcomes, vec![Ok(1); 400]);
    assert_eq!(fleet.source.calls(), 1);
    assert!(began.elapsed() <= ms(50 + 25), "{:?}", began.elapsed());
    assert_eq!(fleet.sum(|snapshot| snapshot.store_leads), 1);
    assert_eq!(fleet.sum(|snapshot| snapshot.store_waits), 7);
    assert_eq!(fleet.sum(|snapshot| snapshot.store_hits), 7);
    assert_eq!(fleet.sum(|snapshot| snapshot.store_alone), 0);
}

#[tokio::test(start_paused = true)]
async fn entry_of_one_replica_serves_another() {
    let fleet = Fleet::new(2);
    assert_eq!(fleet.replica(0).get(7).await, Ok(1));
    settle().await;
    assert_eq!(fleet.replica(1).get(7).await, Ok(1));
    assert_eq!(fleet.replica(1).get(8).await, Ok(2));
    assert_eq!(fleet.source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn memory_serves_for_local_ttl_and_then_the_store_is_asked() {
    let fleet = Fleet::with(1, &exactly(s(60)), |shared| shared.local_ttl(ms(500)));
    let replica = fleet.replica(0);
    replica.get(7).await.unwrap();
    settle().await;
    sleep(ms(400)).await;
    let asked = Instant::now();
    assert_eq!(replica.get(7).await, Ok(1));
    assert_eq!(asked.elapsed(), ms(0));
    sleep(ms(100)).await;
    assert_eq!(replica.get(7).await, Ok(1));
    assert_eq!(replica.handle.snapshot().store_hits, 1);
    assert_eq!(replica.get(7).await, Ok(1), "the entry that was read is in memory");
    assert_eq!(replica.handle.snapshot().store_hits, 1);
    assert_eq!(fleet.source.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_call_asks_the_store_without_a_local_ttl() {
    let fleet = Fleet::with(1, &exactly(s(60)), |shared| shared.local_ttl(s(0)));
    for _ in 0..4 {
        assert_eq!(fleet.replica(0).get(7).await, Ok(1));
        settle().await;
    }
    let snapshot = fleet.replica(0).handle.snapshot();
    assert_eq!((snapshot.store_leads, snapshot.store_hits), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn local_ttl_changes_while_the_layer_runs() {
    let shared = std::cell::RefCell::new(None);
    let fleet = Fleet::with(1, &exactly(s(60)), |cache| {
        shared.replace(Some(cache.clone()));
        cache
    });
    let replica = fleet.replica(0);
    replica.get(7).await.unwrap();
    settle().await;
    replica.get(7).await.unwrap();
    assert_eq!(replica.handle.snapshot().store_hits, 0);
    shared.take().unwrap().handle().set_local_ttl(ms(1));
    replica.get(7).await.unwrap();
    assert_eq!(replica.handle.snapshot().store_hits, 1);
}

#[tokio::test(start_paused = true)]
async fn followers_of_other_replicas_find_the_value_by_polling_alone() {
    let fleet = Fleet::new(8);
    fleet.replicas.iter().for_each(|replica| replica.wire.deafen());
    let began = Instant::now();
    assert_eq!(fleet.get_together(50, 7).await, vec![Ok(1); 400]);
    assert_eq!(fleet.source.calls(), 1);
    assert!(began.elapsed() <= ms(50 + 2 * 40), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn follower_goes_alone_after_max_wait() {
    let fleet = Fleet::with(2, &exactly(s(60)), |shared| shared.max_wait(ms(300)));
    fleet.source.does(Does::Hang);
    let stuck = fleet.replica(0).spawn(7);
    sleep(ms(100)).await;
    fleet.source.does(Does::Answer);
    let began = Instant::now();
    assert_eq!(fleet.replica(1).get(7).await, Ok(2));
    assert_eq!(began.elapsed(), ms(300 + 50));
    assert_eq!(fleet.replica(1).handle.snapshot().store_alone, 1);
    stuck.abort();
}

#[tokio::test(start_paused = true)]
async fn follower_waits_no_longer_than_its_caller() {
    let fleet = Fleet::new(2);
    fleet.source.does(Does::Hang);
    let stuck = fleet.replica(0).spawn(7);
    sleep(ms(100)).await;
    let late = timeout(ms(200), fleet.replica(1).get(7)).await;
    late.unwrap_err();
    assert_eq!(fleet.source.calls(), 1, "the caller left before a call of its own");
    stuck.abort();
}

#[tokio::test(start_paused = true)]
async fn store_that_hangs_costs_max_wait_or_a_second() {
    for (max_wait, cost) in [(s(2), s(2)), (s(0), s(1))] {
        let fleet = Fleet::with(1, &exactly(s(60)), |shared| shared.max_wait(max_wait));
        fleet.replica(0).wire.cut();
        let began = Instant::now();
        assert_eq!(fleet.replica(0).get(7).await, Ok(1));
        assert_eq!(began.elapsed(), cost + ms(50));
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_go_alone_while_the_store_is_away_and_coalesce_their_callers() {
    for outage in [Outage::Refused, Outage::Silent] {
        let fleet = Fleet::new(8);
        fleet.store.begin_outage(outage);
        let outcomes = fleet.get_together(50, 7).await;
        assert!(outcomes.iter().all(Result::is_ok));
        assert_eq!(fleet.source.calls(), 8);
        assert_eq!(fleet.sum(|snapshot| snapshot.store_alone), 8);
        assert_eq!(fleet.sum(|snapshot| snapshot.store_errors), 8);
    }
}
