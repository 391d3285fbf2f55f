//! Stores that fail, lose their state or come back.

use buttress_state::StoreErrorKind;
use buttress_testkit::Outage;
use tokio::time::sleep;

use crate::{
    replicas::{Fleet, settle},
    source::{exactly, ms, s},
};

#[tokio::test(start_paused = true)]
async fn no_error_of_the_store_fails_a_call() {
    for kind in StoreErrorKind::ALL {
        let fleet = Fleet::new(1);
        fleet.store.fail(*kind);
        assert_eq!(fleet.replica(0).get(7).await, Ok(1), "begin fails");
        let snapshot = fleet.replica(0).handle.snapshot();
        assert_eq!((snapshot.store_errors, snapshot.store_alone), (1, 1));
        let call = fleet.replica(0).spawn(8);
        sleep(ms(20)).await;
        fleet.store.fail(*kind);
        assert_eq!(call.await.unwrap(), Ok(2), "finish fails");
        settle().await;
        assert_eq!(fleet.replica(0).handle.snapshot().store_errors, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn memory_serves_while_the_store_is_away() {
    let fleet = Fleet::with(1, &exactly(s(60)), |shared| shared.local_ttl(s(10)));
    fleet.replica(0).get(7).await.unwrap();
    settle().await;
    fleet.store.begin_outage(Outage::Silent);
    assert_eq!(fleet.replica(0).get(7).await, Ok(1));
    sleep(s(10)).await;
    assert_eq!(fleet.replica(0).get(7).await, Ok(2), "past local_ttl each replica calls");
    assert_eq!(fleet.replica(0).get(7).await, Ok(2), "and its memory has the result");
    fleet.store.end_outage();
    sleep(s(10)).await;
    assert_eq!(fleet.replica(0).get(7).await, Ok(1), "the entry of the fleet is served again");
}

#[tokio::test(start_paused = true)]
async fn store_that_loses_its_state_in_a_flight_costs_a_call_and_no_error() {
    let fleet = Fleet::new(8);
    let calls: Vec<_> =
        fleet.replicas.iter().flat_map(|replica| (0..50).map(|_| replica.spawn(7))).collect();
    sleep(ms(20)).await;
    fleet.store.begin_outage(Outage::Refused);
    sleep(ms(5)).await;
    fleet.store.lose_state();
    fleet.store.end_outage();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(fleet.source.calls() <= 8, "{}", fleet.source.calls());
    settle().await;
    let calls = fleet.source.calls();
    fleet.get_together(50, 7).await;
    assert_eq!(fleet.source.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn state_lost_in_a_flight_without_an_outage_costs_one_more_call() {
    let fleet = Fleet::new(8);
    let calls: Vec<_> =
        fleet.replicas.iter().flat_map(|replica| (0..50).map(|_| replica.spawn(7))).collect();
    sleep(ms(20)).await;
    fleet.store.lose_state();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(fleet.source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn step_of_the_stores_clock_makes_no_entry_live_longer() {
    let fleet = Fleet::with(2, &exactly(s(60)), |shared| shared.local_ttl(s(0)));
    assert_eq!(fleet.replica(0).get(7).await, Ok(1));
    settle().await;
    fleet.store.step_clock_back(s(3600));
    sleep(s(1)).await;
    assert_eq!(fleet.replica(1).get(7).await, Ok(1));
    fleet.store.step_clock_forward(s(3600 + 60));
    assert_eq!(fleet.replica(1).get(7).await, Ok(2));
}
