//! Leaders that leave, die, fail or are late.

use buttress_core::Verdict;
use buttress_dedup::{DedupLayer, SharedCache};
use buttress_testkit::{FakeStore, TestError};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

use crate::{
    replicas::{Fleet, Numbers, settle},
    source::{Does, Source, exactly, ms, s},
    wire::TRIP,
};

#[tokio::test(start_paused = true)]
async fn lock_of_a_cancelled_leader_is_gone_within_one_trip() {
    let fleet = Fleet::new(2);
    let leader = fleet.replica(0).spawn(7);
    sleep(ms(20)).await;
    leader.abort();
    sleep(TRIP).await;
    let began = Instant::now();
    assert_eq!(fleet.replica(1).get(7).await, Ok(2));
    assert_eq!(began.elapsed(), TRIP + ms(50), "the lock was free");
}

#[tokio::test(start_paused = true)]
async fn follower_takes_over_from_a_cancelled_leader() {
    let fleet = Fleet::new(3);
    let leader = fleet.replica(0).spawn(7);
    sleep(ms(10)).await;
    let followers = [fleet.replica(1).spawn(7), fleet.replica(2).spawn(7)];
    sleep(ms(20)).await;
    let cancelled = Instant::now();
    leader.abort();
    for follower in followers {
        assert_eq!(follower.await.unwrap(), Ok(2));
    }
    assert!(cancelled.elapsed() <= ms(50 + 25), "{:?}", cancelled.elapsed());
    assert_eq!(fleet.source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn death_of_a_leader_costs_the_lease_and_a_second_call() {
    let fleet = Fleet::new(3);
    fleet.store.set_lease(ms(300));
    let leader = fleet.replica(0).spawn(7);
    sleep(ms(10)).await;
    let died = Instant::now();
    fleet.replica(0).wire.cut();
    leader.abort();
    let survivors = [fleet.replica(1).spawn(7), fleet.replica(2).spawn(7)];
    for survivor in survivors {
        assert_eq!(survivor.await.unwrap(), Ok(2));
    }
    assert_eq!(fleet.source.calls(), 2);
    assert!(died.elapsed() <= ms(300 + 50 + 100), "{:?}", died.elapsed());
}

#[tokio::test(start_paused = true)]
async fn work_longer_than_an_unrenewed_lease_costs_a_second_call_and_no_convoy() {
    let fleet = Fleet::new(8);
    fleet.store.set_lease(ms(30));
    let outcomes = fleet.get_together(50, 7).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(fleet.source.calls(), 2, "the late value fills the empty slot");
}

#[tokio::test(start_paused = true)]
async fn two_failed_flights_send_the_followers_alone() {
    let fleet = Fleet::new(8);
    fleet.source.does(Does::Fail(TestError::Failed));
    let began = Instant::now();
    let outcomes = fleet.get_together(1, 7).await;
    assert!(outcomes.iter().all(Result::is_err));
    assert_eq!(fleet.source.calls(), 8, "an error is not shared between replicas");
    assert!(began.elapsed() <= ms(3 * 50 + 50), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn leader_that_panics_gives_the_lock_back() {
    let fleet = Fleet::new(2);
    fleet.source.does(Does::Panic);
    fleet.replica(0).get(7).await.unwrap_err();
    settle().await;
    fleet.source.does(Does::Answer);
    let began = Instant::now();
    fleet.replica(1).get(7).await.unwrap();
    assert_eq!(began.elapsed(), TRIP + ms(50));
}

#[tokio::test(start_paused = true)]
async fn value_that_is_too_long_sends_the_followers_alone() {
    let fleet = Fleet::with(8, &exactly(s(60)), |shared| shared.max_value(40));
    let outcomes = fleet.get_together(50, 7).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(fleet.source.calls(), 8, "one call for each replica");
    assert!(fleet.source.most() >= 7, "not one after another");
    assert_eq!(fleet.sum(|snapshot| snapshot.store_alone), 7);
    // The entry is in the memory of each.
    fleet.get_together(50, 7).await;
    assert_eq!(fleet.source.calls(), 8);
}

#[tokio::test(start_paused = true)]
async fn result_that_may_not_be_cached_gives_the_lock_back() {
    let fleet = Fleet::with(2, &exactly(s(0)), |shared| shared);
    assert_eq!(fleet.replica(0).get(7).await, Ok(1));
    settle().await;
    let began = Instant::now();
    assert_eq!(fleet.replica(1).get(7).await, Ok(2));
    assert_eq!(began.elapsed(), TRIP + ms(50));
}

#[tokio::test(start_paused = true)]
async fn cached_error_stays_in_its_replica() {
    let classify = |outcome: Result<&u32, &TestError>| match outcome {
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Permanent,
    };
    let (store, source) = (FakeStore::new(), Source::new());
    source.does(Does::Fail(TestError::NotFound));
    let [first, second] = [(); 2].map(|()| {
        let shared = SharedCache::new(store.clone(), Numbers::<1>);
        let cache = exactly(s(60)).negative_ttl(s(60)).classify(classify).store(shared);
        source.under(&DedupLayer::new().cache(cache).share_errors())
    });
    first.clone().oneshot(7).await.unwrap_err();
    settle().await;
    let began = Instant::now();
    second.oneshot(7).await.unwrap_err();
    assert_eq!(began.elapsed(), ms(50), "the lock was free");
    first.oneshot(7).await.unwrap_err();
    assert_eq!(source.calls(), 2, "the first has the error in memory");
}
