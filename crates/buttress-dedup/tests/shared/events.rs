//! Events about the fleet's store.

use buttress_testkit::{Events, Outage};
use tokio::time::sleep;
use tracing::Level;

use crate::{
    replicas::{Fleet, settle},
    source::{exactly, ms, s},
};

#[tokio::test(start_paused = true)]
async fn outage_emits_one_event_when_it_begins_and_one_when_it_ends() {
    let fleet = Fleet::with(1, &exactly(s(60)), |shared| shared.local_ttl(s(0)));
    let events = Events::of("buttress");
    fleet.store.begin_outage(Outage::Silent);
    for key in 0..10 {
        fleet.replica(0).get(key).await.unwrap();
        sleep(s(1)).await;
    }
    let lost = events.named("dedup.store_lost");
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].level, Level::WARN);
    assert_eq!(lost[0].field("instance"), Some("users"));
    assert_eq!(lost[0].field("error"), Some("timeout"));
    assert_eq!(events.named("dedup.store_regained").len(), 0);
    fleet.store.end_outage();
    for key in 10..20 {
        fleet.replica(0).get(key).await.unwrap();
    }
    settle().await;
    let regained = events.named("dedup.store_regained");
    assert_eq!(regained.len(), 1);
    assert_eq!(regained[0].level, Level::INFO);
    assert_eq!(regained[0].field("instance"), Some("users"));
    assert!(regained[0].field("away").is_some());
    assert_eq!(events.named("dedup.store_lost").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn operations_that_overlap_a_failure_do_not_end_the_outage() {
    let fleet = Fleet::new(1);
    let events = Events::of("buttress");
    fleet.store.set_delay(ms(20));
    let slow = fleet.replica(0).spawn(1);
    sleep(ms(5)).await;
    fleet.store.set_delay(ms(0));
    fleet.store.fail(buttress_state::StoreErrorKind::Rejected);
    fleet.replica(0).spawn(2);
    sleep(ms(25)).await;
    assert_eq!(events.named("dedup.store_lost").len(), 1);
    assert_eq!(events.named("dedup.store_regained").len(), 0, "began before the failure");
    slow.await.unwrap().unwrap();
    settle().await;
    assert_eq!(events.named("dedup.store_regained").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn superseded_result_emits_an_event() {
    let fleet = Fleet::new(2);
    fleet.replica(1).get(8).await.unwrap();
    let events = Events::of("buttress");
    let call = fleet.replica(0).spawn(7);
    sleep(ms(20)).await;
    fleet.replica(1).handle.invalidate(&7_u32);
    call.await.unwrap().unwrap();
    settle().await;
    let superseded = events.named("dedup.superseded");
    assert_eq!(superseded.len(), 1);
    assert_eq!(superseded[0].level, Level::DEBUG);
    assert_eq!(superseded[0].field("instance"), Some("users"));
}
