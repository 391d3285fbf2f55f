//! Runtimes that stand still or end, stores that never answer, and user code that panics.

use std::{
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use buttress_core::{Reason, StoreKey};
use buttress_state::{Ask, Grant, QuotaStore, StoreError, StoreErrorKind, StoreSnapshot};
use buttress_testkit::{FakeStore, Outage};
use buttress_throttle::{Fleet, Rate, ThrottleLayer, WithoutStore};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, advance, sleep},
};
use tokio_test::task::spawn;
use tower::{Layer, Service, ServiceExt};

use crate::support::{FleetLayer, call, inner, millis, throttled};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn layer(store: impl QuotaStore) -> FleetLayer {
    ThrottleLayer::rate(Rate::per_second(100)).fleet(Fleet::new(store, 4))
}

/// A request whose task is never polled is given up after four time limits.
#[test]
fn request_of_a_runtime_that_stands_still_is_given_up() {
    let (still, other) = (runtime(), runtime());
    let store = FakeStore::new();
    let layer = layer(store.clone());
    in_runtime(&still, || assert!(spawn(throttled(&layer).oneshot(1)).poll().is_pending()));
    let handle = layer.handle();
    other.block_on(async {
        sleep(millis(30)).await;
        assert_eq!(call(&layer).await, Ok(()), "the share decides");
        assert_eq!(handle.fleet().errors, [0; 4]);
        sleep(millis(200)).await;
        assert_eq!(call(&layer).await, Ok(()));
        assert_eq!(handle.fleet().errors_of(StoreErrorKind::Timeout), 1);
        sleep(millis(101)).await;
        assert_eq!(call(&layer).await, Ok(()));
        sleep(millis(1)).await;
        let fleet = handle.fleet();
        assert_eq!((fleet.keys_away, fleet.debt, store.asks().len()), (0, 0, 1));
    });
    // The late request finds that another took its place.
    still.block_on(async { sleep(millis(1)).await });
    let fleet = handle.fleet();
    assert_eq!((fleet.keys_away, fleet.expired, fleet.errors.iter().sum::<u64>()), (0, 1, 1));
    assert_eq!(fleet.trips, 2);
}

/// The request of a runtime that ends counts as failed, and the calls of others are decided.
#[test]
fn end_of_a_runtime_decides_the_calls_that_wait_for_its_request() {
    let (ends, other) = (runtime(), runtime());
    let store = FakeStore::new();
    let layer = layer(store);
    in_runtime(&ends, || assert!(spawn(throttled(&layer).oneshot(1)).poll().is_pending()));
    let mut waiting = spawn(throttled(&layer).oneshot(1));
    in_runtime(&other, || assert!(waiting.poll().is_pending()));
    drop(ends);
    assert!(waiting.is_woken());
    assert!(in_runtime(&other, || waiting.poll()).is_ready());
    assert_eq!(layer.handle().fleet().errors_of(StoreErrorKind::Unavailable), 1);
}

fn in_runtime<T>(runtime: &Runtime, f: impl FnOnce() -> T) -> T {
    let _entered = runtime.enter();
    f()
}

/// A store that never answers.
#[derive(Clone)]
struct Never;

impl QuotaStore for Never {
    async fn acquire(&self, _: Ask<'_>) -> Result<Grant, StoreError> {
        pending().await
    }

    fn snapshot(&self) -> StoreSnapshot {
        StoreSnapshot::default()
    }
}

#[tokio::test(start_paused = true)]
async fn store_that_never_answers_counts_as_away_after_two_time_limits() {
    let layer = layer(Never);
    let start = Instant::now();
    assert_eq!(call(&layer).await, Ok(()));
    assert!(start.elapsed() <= millis(26), "{:?}", start.elapsed());
    sleep(millis(30)).await;
    let fleet = layer.handle().fleet();
    assert_eq!((fleet.keys_away, fleet.errors_of(StoreErrorKind::Timeout)), (1, 1));
}

/// A store whose replies break the contract.
#[derive(Clone)]
struct Lies(Grant);

impl QuotaStore for Lies {
    async fn acquire(&self, _: Ask<'_>) -> Result<Grant, StoreError> {
        Ok(self.0.clone())
    }

    fn snapshot(&self) -> StoreSnapshot {
        StoreSnapshot::default()
    }
}

/// I3 at the layer: more cells than asked for, or times of other rates, are a damaged reply.
#[tokio::test(start_paused = true)]
async fn reply_that_breaks_the_contract_counts_as_corrupt() {
    let second = || vec![Duration::from_secs(1)].into_boxed_slice();
    for grant in [
        Grant::new(2, Duration::ZERO, second(), 0),
        Grant::new(1, Duration::ZERO, Box::default(), 0),
        Grant::new(1, Duration::ZERO, vec![Duration::MAX; 2].into(), u64::MAX),
    ] {
        let layer = layer(Lies(grant));
        assert_eq!(call(&layer).await, Ok(()), "the share decides");
        assert_eq!(layer.handle().fleet().errors_of(StoreErrorKind::Corrupt), 1);
    }
}

/// A store that denies for ever is asked again once an empty bucket would be full.
#[tokio::test(start_paused = true)]
async fn endless_denial_ends_when_an_empty_bucket_would_be_full() {
    let layer = layer(Lies(Grant::new(0, Duration::MAX, vec![Duration::MAX].into(), u64::MAX)));
    let denied = call(&layer).await.unwrap_err();
    assert_eq!(denied, (Reason::RateLimited, Some(millis(800))));
    advance(millis(800)).await;
    let trips = layer.handle().fleet().trips;
    assert!(call(&layer).await.is_err());
    assert_eq!(layer.handle().fleet().trips, trips + 1);
}

/// A layer may be dropped while its request is under way.
#[tokio::test(start_paused = true)]
async fn layer_that_is_dropped_leaves_its_request_and_no_task_behind() {
    let store = FakeStore::new();
    store.set_delay(millis(10));
    let layer = layer(store.clone());
    let handle = layer.handle();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let mut call = spawn(throttled(&layer).oneshot(1));
    assert!(call.poll().is_pending());
    drop((call, layer));
    assert_eq!(tasks(), before + 1);
    sleep(millis(12)).await;
    assert_eq!((tasks(), handle.fleet().granted), (before, 1));
}

/// A key that panics when its bytes are made.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key(u32);

impl StoreKey for Key {
    fn write(&self, out: &mut Vec<u8>) {
        assert!(self.0 != 13, "a fault of the key");
        self.0.write(out);
    }
}

#[tokio::test(start_paused = true)]
async fn panic_of_a_key_or_cost_leaves_nothing_behind() {
    let store = FakeStore::new();
    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(2))
        .fleet(Fleet::new(store.clone(), 1))
        .cost(|number: &u32| 14 / (15 - number))
        .keyed(|number: &u32| Some(Key(*number)));
    let call = |number| {
        let service = layer.layer(inner());
        let mut call = spawn(service.oneshot(number));
        catch_unwind(AssertUnwindSafe(|| call.poll().is_pending()))
    };
    assert!(call(13).is_err(), "the key");
    assert!(call(15).is_err(), "the cost");
    assert_eq!(layer.handle().keys(), 0);
    assert_eq!(layer.handle().queued(), 0);
    assert!(call(1).is_ok());
    sleep(millis(1)).await;
    assert_eq!(store.asks().len(), 1);
}

/// Debts of keys that get no more calls are told too. Otherwise such keys would fill the table.
#[tokio::test(start_paused = true)]
async fn debts_of_keys_without_calls_are_told_when_the_store_is_back() {
    let store = FakeStore::new();
    let layer = ThrottleLayer::rate(Rate::per_second(100))
        .fleet(Fleet::new(store.clone(), 2).without_store(WithoutStore::FailOpen))
        .keyed(|number: &u32| Some(*number))
        .max_keys(512);
    store.begin_outage(Outage::Refused);
    for key in 0..300 {
        let mut service = layer.layer(inner());
        assert!(service.ready().await.unwrap().call(key).await.is_ok());
    }
    sleep(Duration::from_secs(60)).await;
    assert_eq!(layer.handle().keys(), 300, "no key with a debt is forgotten");
    store.end_outage();
    for _ in 0..30 {
        layer.handle().keys();
        sleep(millis(101)).await;
    }
    assert_eq!((layer.handle().keys(), layer.handle().fleet().debt), (0, 0));
    assert_eq!(store.asks().iter().map(|ask| ask.debt).sum::<u64>(), 300);
}
