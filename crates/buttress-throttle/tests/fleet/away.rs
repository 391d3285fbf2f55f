//! Calls while the store is away, and the return of the store.

use std::time::Duration;

use buttress_core::Reason;
use buttress_state::{Ask, Grant, QuotaStore, StoreError, StoreErrorKind, StoreSnapshot};
use buttress_testkit::{Events, FakeStore, Outage};
use buttress_throttle::{Fleet, Rate, ThrottleLayer, WithoutStore};
use tokio::time::{Instant, advance, sleep};

use crate::support::{FleetLayer, call, load, millis, replica};

fn layer(store: &FakeStore, policy: WithoutStore) -> FleetLayer {
    let fleet = Fleet::new(store.clone(), 4).without_store(policy);
    ThrottleLayer::rate(Rate::per_second(100).burst(40)).fleet(fleet)
}

/// L1, L2: the policy decides at once when a request fails.
#[tokio::test(start_paused = true)]
async fn policy_decides_the_calls_while_the_store_is_away() {
    let cases = [
        (WithoutStore::LocalShare, 10, Reason::RateLimited),
        (WithoutStore::FailOpen, 50, Reason::RateLimited),
        (WithoutStore::FailClosed, 0, Reason::Overloaded),
    ];
    for (policy, admits, refuses) in cases {
        let store = FakeStore::new();
        store.begin_outage(Outage::Refused);
        let layer = layer(&store, policy);
        let mut admitted = 0;
        for _ in 0..50 {
            match call(&layer).await {
                Ok(()) => admitted += 1,
                Err((reason, _)) => assert_eq!(reason, refuses, "{policy:?}"),
            }
        }
        assert_eq!(admitted, admits, "{policy:?}");
        let fleet = layer.handle().fleet();
        assert_eq!((fleet.away_admitted, fleet.debt, fleet.keys_away), (admits, admits, 1));
        assert_eq!(fleet.errors_of(StoreErrorKind::Unavailable), 1);
    }
}

/// L1: 100 ms.
#[tokio::test(start_paused = true)]
async fn fail_closed_tells_a_retry_delay() {
    let store = FakeStore::new();
    store.begin_outage(Outage::Refused);
    let end = call(&layer(&store, WithoutStore::FailClosed)).await;
    assert_eq!(end, Err((Reason::Overloaded, Some(millis(100)))));
}

/// A5: a silent store costs the first call one time limit, and the next ones nothing.
#[tokio::test(start_paused = true)]
async fn silent_store_delays_a_call_for_one_time_limit_only() {
    let store = FakeStore::new();
    store.begin_outage(Outage::Silent);
    let layer = layer(&store, WithoutStore::LocalShare);
    let start = Instant::now();
    assert_eq!(call(&layer).await, Ok(()));
    assert!(start.elapsed() <= millis(27), "{:?}", start.elapsed());
    let start = Instant::now();
    assert_eq!(call(&layer).await, Ok(()));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// L5, L6: the debt goes to the store with the first request after the outage.
#[tokio::test(start_paused = true)]
async fn returned_store_is_told_the_debt() {
    let store = FakeStore::new();
    store.begin_outage(Outage::Refused);
    let layer = layer(&store, WithoutStore::LocalShare);
    for _ in 0..7 {
        assert_eq!(call(&layer).await, Ok(()));
    }
    store.end_outage();
    assert_eq!(call(&layer).await, Ok(()));
    assert!(store.asks().is_empty(), "100 ms have not passed");
    advance(millis(100)).await;
    assert_eq!(call(&layer).await, Ok(()), "the share decides meanwhile");
    sleep(millis(1)).await;
    assert_eq!(store.asks()[0].debt, 9);
    let fleet = layer.handle().fleet();
    assert_eq!((fleet.debt, fleet.keys_away, fleet.away_admitted), (0, 0, 9));
    assert_eq!(call(&layer).await, Ok(()));
    assert_eq!(store.asks().len(), 2, "the store decides again");
}

/// L6: a debt whose request fails is kept.
#[tokio::test(start_paused = true)]
async fn debt_is_kept_until_the_store_has_heard_it() {
    let store = FakeStore::new();
    store.begin_outage(Outage::Refused);
    let layer = layer(&store, WithoutStore::FailOpen);
    for _ in 0..5 {
        assert_eq!(call(&layer).await, Ok(()));
    }
    store.end_outage();
    store.lose_reply();
    advance(millis(100)).await;
    assert_eq!(call(&layer).await, Ok(()));
    sleep(millis(30)).await;
    assert_eq!(layer.handle().fleet().debt, 6);
    advance(millis(100)).await;
    assert_eq!(call(&layer).await, Ok(()));
    sleep(millis(1)).await;
    assert_eq!(store.asks().iter().map(|ask| ask.debt).collect::<Vec<_>>(), [6, 7]);
    assert_eq!(layer.handle().fleet().debt, 0);
}

/// L9: an error that says when is believed.
#[tokio::test(start_paused = true)]
async fn store_is_not_asked_again_before_the_time_it_told() {
    let store = FakeStore::new();
    store.fail(StoreError::new(StoreErrorKind::Rejected).after(Duration::from_secs(10)));
    let layer = layer(&store, WithoutStore::FailOpen);
    assert_eq!(call(&layer).await, Ok(()));
    advance(Duration::from_secs(9)).await;
    assert_eq!(call(&layer).await, Ok(()));
    assert!(store.asks().is_empty());
    advance(Duration::from_secs(1)).await;
    assert_eq!(call(&layer).await, Ok(()));
    sleep(millis(1)).await;
    assert_eq!(store.asks().len(), 1);
}

/// L8: in an outage that all see, all replicas together admit the rate and a burst at most.
#[tokio::test(start_paused = true)]
async fn replicas_together_admit_the_rate_while_the_store_is_away() {
    let store = FakeStore::new();
    store.set_delay(millis(2));
    let rate = Rate::per_second(1000).burst(400);
    let layers: Vec<_> = (0..4).map(|_| replica(&store, rate, 4)).collect();
    load(&layers, 1, millis(500)).await;
    store.begin_outage(Outage::Refused);
    let start = Instant::now();
    let admitted = load(&layers, 1, Duration::from_secs(2)).await;
    let came = u64::try_from(start.elapsed().as_millis()).unwrap();
    assert!(admitted <= came + 400, "{admitted} in {came} ms");
    assert!(admitted * 100 >= came * 95, "{admitted} in {came} ms");
    store.end_outage();
    load(&layers, 1, Duration::from_secs(1)).await;
    for layer in &layers {
        assert_eq!((layer.handle().fleet().debt, layer.handle().fleet().keys_away), (0, 0));
    }
    let debts: u64 = store.asks().iter().map(|ask| ask.debt).sum();
    let away: u64 = layers.iter().map(|layer| layer.handle().fleet().away_admitted).sum();
    assert_eq!(debts, away);
}

/// L7: the state is lost under an active caller.
#[tokio::test(start_paused = true)]
async fn lost_state_starts_empty_under_an_active_caller() {
    let store = FakeStore::new();
    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(10))
        .fleet(Fleet::new(store.clone(), 2).exact());
    for _ in 0..8 {
        assert_eq!(call(&layer).await, Ok(()));
    }
    store.lose_state();
    assert_eq!(call(&layer).await.unwrap_err().0, Reason::RateLimited);
    assert_eq!(layer.handle().fleet().losses, 1);
}

/// A24: the first key that goes and the last that returns are reported.
#[tokio::test(start_paused = true)]
async fn outage_is_reported_when_it_begins_and_when_it_ends() {
    let events = Events::record();
    let store = FakeStore::new();
    store.begin_outage(Outage::Refused);
    let layer = layer(&store, WithoutStore::LocalShare).named("orders");
    call(&layer).await.unwrap();
    call(&layer).await.unwrap();
    store.end_outage();
    advance(millis(100)).await;
    call(&layer).await.unwrap();
    sleep(millis(1)).await;
    let lost = events.named("throttle.store_lost");
    assert_eq!((lost.len(), events.count("throttle.store_regained")), (1, 1), "{}", events.log());
    assert_eq!(lost[0].field("instance"), Some("orders"));
    assert_eq!(
        (lost[0].field("error"), lost[0].field("policy")),
        (Some("unavailable"), Some("local_share"))
    );
}

/// A store that panics.
#[derive(Clone)]
struct Panics;

impl QuotaStore for Panics {
    #[expect(clippy::panic, reason = "this is the fault")]
    async fn acquire(&self, _: Ask<'_>) -> Result<Grant, StoreError> {
        panic!("a fault of the store")
    }

    fn snapshot(&self) -> StoreSnapshot {
        StoreSnapshot::default()
    }
}

/// The task that asks may end in any way: then the store counts as away, and no call waits on.
#[tokio::test(start_paused = true)]
async fn store_that_panics_counts_as_away() {
    let layer = ThrottleLayer::rate(Rate::per_second(100)).fleet(Fleet::new(Panics, 4));
    assert_eq!(call(&layer).await, Ok(()));
    assert_eq!(layer.handle().fleet().errors_of(StoreErrorKind::Unavailable), 1);
}

/// Chapter 9, item 7: outside of a runtime the store counts as away.
#[test]
fn store_counts_as_away_outside_of_a_runtime() {
    let store = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        FakeStore::new()
    };
    let layer = layer(&store, WithoutStore::FailOpen);
    let mut outside = tokio_test::task::spawn(call(&layer));
    assert!(matches!(outside.poll(), std::task::Poll::Ready(Ok(()))));
    assert_eq!(layer.handle().fleet().keys_away, 1);
}
