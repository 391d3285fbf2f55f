//! A circuit for each key.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use buttress_breaker::{
    Backoff, Breaker, BreakerHandle, BreakerLayer, BreakerSnapshot, CircuitState, KeyedCircuits,
};
use buttress_core::{BoxError, FixedKey, KeyOf, Plain};
use buttress_testkit::{Probe, counts};
use tokio::time::advance;
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{SECOND, ms, rules};

/// A shard, and whether it replies.
type Query = (u32, bool);
type Shard = fn(&Query) -> Option<u32>;
type Keys = KeyedCircuits<u32, Shard>;
type Database = Breaker<Probe<Query, u32, BoxError>, Plain, Keys>;

/// Shard 0 is no shard.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "a key is asked for by reference")]
fn shard((shard, _): &Query) -> Option<u32> {
    (*shard > 0).then_some(*shard)
}

fn layer() -> BreakerLayer<Plain, Keys> {
    BreakerLayer::new().open_for(Backoff::constant(SECOND)).keyed(shard as Shard)
}

fn database(layer: &BreakerLayer<Plain, Keys>) -> Database {
    layer.layer(Probe::new(|(shard, replies)| if replies { Ok(shard) } else { Err("lost".into()) }))
}

async fn lose(database: &Database, shard: u32, calls: usize) {
    for _ in 0..calls {
        assert_eq!(database.clone().oneshot((shard, false)).await.unwrap_err().to_string(), "lost");
    }
}

fn state(handle: &BreakerHandle<KeyedCircuits<u32>>, shard: u32) -> Option<CircuitState> {
    handle.for_key(&shard).map(|handle| handle.state())
}

#[tokio::test(start_paused = true)]
async fn failures_of_a_key_open_its_circuit_alone() {
    let layer = layer();
    let (database, handle) = (database(&layer), layer.handle());
    lose(&database, 1, 5).await;
    database.clone().oneshot((1, true)).await.unwrap_err();
    assert_eq!(database.clone().oneshot((2, true)).await.unwrap(), 2);
    assert_eq!(state(&handle, 1), Some(CircuitState::Open));
    assert_eq!(state(&handle, 2), Some(CircuitState::Closed));
    assert_eq!(state(&handle, 3), None, "no call used the key");
    assert_eq!(handle.keys(), 2);
    let expected = counts!(BreakerSnapshot { counts: handle.counts(), rejected: 1, opened: 1 });
    assert_eq!(handle.snapshot(), expected);
    assert_eq!((handle.counts().calls, handle.counts().failures), (6, 5));
    assert_eq!(handle.for_key(&1).unwrap().rejected(), 1);
    assert_eq!(handle.for_key(&2).unwrap().rejected(), 0);
}

#[tokio::test(start_paused = true)]
async fn request_without_a_key_passes_unrecorded() {
    let layer = layer();
    let database = database(&layer);
    lose(&database, 0, 100).await;
    assert_eq!(layer.handle().snapshot(), BreakerSnapshot::default());
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn handle_reaches_the_circuit_of_each_key() {
    let layer = layer();
    let (database, handle) = (database(&layer), layer.handle());
    for shard in 1..=3 {
        database.clone().oneshot((shard, true)).await.unwrap();
    }
    let maintenance = handle.for_key(&2).unwrap().isolate();
    database.clone().oneshot((2, true)).await.unwrap_err();
    database.clone().oneshot((3, true)).await.unwrap();
    let mut states: Vec<_> =
        handle.circuits().into_iter().map(|(key, handle)| (key, handle.state())).collect();
    states.sort_unstable_by_key(|(key, _)| *key);
    let expected = [CircuitState::Closed, CircuitState::Isolated, CircuitState::Closed];
    assert_eq!(states, (1..).zip(expected).collect::<Vec<_>>());
    drop(maintenance);
    database.clone().oneshot((2, true)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn key_is_dropped_once_its_window_is_empty_or_its_longest_interval_has_passed() {
    let layer = layer();
    let (database, handle) = (database(&layer), layer.handle());
    database.clone().oneshot((1, true)).await.unwrap();
    lose(&database, 2, 5).await;
    assert_eq!(handle.keys(), 2);
    advance(ms(1_999)).await;
    assert_eq!(handle.keys(), 2);
    advance(ms(1)).await;
    assert_eq!(handle.keys(), 1, "twice the interval after the opening");
    advance(8 * SECOND).await;
    assert_eq!(handle.keys(), 0);
    assert_eq!(handle.opened(), 1, "the numbers of dropped keys stay");
}

#[tokio::test(start_paused = true)]
async fn key_that_is_set_by_hand_held_or_called_stays_in_use() {
    let layer = layer();
    let handle = layer.handle();
    let hanging = service_fn(async |_: Query| {
        std::future::pending::<()>().await;
        Ok::<_, BoxError>(())
    });
    let database = layer.layer(hanging);
    let mut calls: Vec<_> =
        (1..=3).map(|shard| task::spawn(database.clone().oneshot((shard, true)))).collect();
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    handle.for_key(&1).unwrap().disable();
    let held = handle.for_key(&2);
    let in_flight = calls.pop();
    drop(calls);
    advance(1000 * SECOND).await;
    assert_eq!(handle.keys(), 3);
    drop((held, in_flight));
    assert_eq!(handle.keys(), 1);
    handle.for_key(&1).unwrap().close();
    assert_eq!(handle.keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn keys_beyond_the_maximum_share_a_circuit() {
    let layer = layer().max_keys(0);
    let (database, handle) = (database(&layer), layer.handle());
    lose(&database, 1, 5).await;
    database.clone().oneshot((2, true)).await.unwrap_err();
    assert_eq!((handle.keys(), handle.opened(), handle.rejected()), (0, 1, 1));
    assert_eq!(state(&handle, 1), None);
}

#[tokio::test(start_paused = true)]
async fn flood_of_keys_is_bounded_and_gives_its_memory_back() {
    let layer = layer().max_keys(160);
    let (database, handle) = (database(&layer), layer.handle());
    for shard in 1..=10_000 {
        database.clone().oneshot((shard, true)).await.unwrap();
    }
    assert!(handle.keys() <= 160, "{}", handle.keys());
    advance(10 * SECOND).await;
    assert_eq!(handle.keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn rules_of_a_keyed_layer_change_for_all_keys_and_for_later_ones() {
    let layer = layer();
    let (database, handle) = (database(&layer), layer.handle());
    database.clone().oneshot((1, true)).await.unwrap();
    handle.set_rules(rules().consecutive(2));
    assert_eq!(handle.rules(), rules().consecutive(2));
    for shard in [1, 2] {
        lose(&database, shard, 2).await;
        assert_eq!(state(&handle, shard), Some(CircuitState::Open), "{shard}");
    }
    let one = handle.for_key(&1).unwrap();
    one.set_rules(rules().consecutive(3));
    assert_eq!(handle.for_key(&2).unwrap().rules(), rules().consecutive(2));
}

#[tokio::test(start_paused = true)]
async fn rules_are_options_of_a_keyed_layer_in_any_order() {
    let one = BreakerLayer::new().consecutive(2).keyed(shard as Shard).window(SECOND);
    let two = BreakerLayer::new().keyed(shard as Shard).max_keys(9).window(SECOND).consecutive(2);
    for layer in [one, two] {
        assert_eq!(layer.handle().rules(), rules().consecutive(2).window(SECOND));
        let database = database(&layer);
        lose(&database, 1, 2).await;
        database.clone().oneshot((1, true)).await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_fresh_per_service_and_after_an_option_of_the_rules() {
    let layer = layer();
    let per_service = layer.clone().per_service();
    let [one, two] = [database(&per_service), database(&per_service)];
    lose(&one, 1, 5).await;
    assert_eq!((one.handle().opened(), two.handle().opened()), (1, 0));
    two.oneshot((1, true)).await.unwrap();
    lose(&database(&layer), 1, 5).await;
    database(&layer.clone().consecutive(9)).oneshot((1, true)).await.unwrap();
    database(&layer.clone().named("other")).oneshot((1, true)).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn key_of_the_user_that_panics_leaves_nothing_behind() {
    let calls = Arc::new(AtomicU32::new(0));
    let asked = Arc::clone(&calls);
    let key = move |_: &u32| {
        assert!(asked.fetch_add(1, Ordering::Relaxed) > 0, "as told");
        Some(1)
    };
    let layer = BreakerLayer::new().keyed(key);
    let service = layer.layer(Probe::new(Ok::<u32, BoxError>));
    tokio::spawn(service.clone().oneshot(1)).await.unwrap_err();
    assert_eq!(layer.handle().keys(), 0);
    assert_eq!(service.oneshot(1).await.unwrap(), 1);
}

/// The shard of a row, for requests of two types.
#[derive(Clone)]
struct ShardOf;

impl FixedKey for ShardOf {
    type Key = u64;
}

impl KeyOf<u64> for ShardOf {
    type Key = u64;

    fn key(&self, row: &u64) -> Option<u64> {
        Some(row % 10)
    }
}

impl KeyOf<String> for ShardOf {
    type Key = u64;

    fn key(&self, row: &String) -> Option<u64> {
        row.parse().ok().map(|row: u64| row % 10)
    }
}

#[tokio::test(start_paused = true)]
async fn key_of_several_request_types_is_given_by_per_and_shared_by_their_services() {
    let layer = BreakerLayer::new().per(ShardOf).consecutive(2);
    let by_number = layer.layer(Probe::new(|_: u64| Err::<(), _>(BoxError::from("lost"))));
    let by_name = layer.layer(Probe::new(|_: String| Ok::<_, BoxError>(())));
    by_number.clone().oneshot(13).await.unwrap_err();
    by_number.oneshot(23).await.unwrap_err();
    by_name.clone().oneshot("33".to_owned()).await.unwrap_err();
    by_name.clone().oneshot("34".to_owned()).await.unwrap();
    by_name.oneshot("no row".to_owned()).await.unwrap();
    let handle = layer.handle();
    assert_eq!(handle.for_key(&3).unwrap().state(), CircuitState::Open);
    assert_eq!((handle.keys(), handle.rejected()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn rules_of_a_key_last_until_the_key_is_dropped() {
    let layer = layer();
    let (database, handle) = (database(&layer), layer.handle());
    lose(&database, 1, 1).await;
    let of_key = handle.for_key(&1).unwrap();
    of_key.set_rules(rules().consecutive(2));
    assert_ne!(handle.rules(), of_key.rules());
    lose(&database, 1, 1).await;
    assert_eq!(of_key.state(), CircuitState::Open);
    of_key.close();
    assert_eq!(handle.keys(), 1, "the handle keeps the key in use");
    drop(of_key);
    assert_eq!(handle.keys(), 0);
    lose(&database, 1, 4).await;
    assert_eq!(state(&handle, 1), Some(CircuitState::Closed));
    assert_eq!(handle.for_key(&1).unwrap().rules(), handle.rules());
}
