//! Values in the store that are damaged, foreign or of another version.

use std::time::Duration;

use buttress_core::{Codec, StoreKey};
use buttress_state::{Begun, Ending, FlightStore, Slot};
use buttress_testkit::{Events, FakeStore};
use bytes::Bytes;

use crate::{
    replicas::{Fleet, Numbers, settle},
    source::{exactly, s},
};

/// The bytes that replicas of the layer `users` write for a key without a resource.
pub(crate) fn names(key: u32) -> (Vec<u8>, Vec<u8>) {
    let (mut group, mut name) = (Vec::new(), Vec::new());
    ("users", 0_u8, key).write(&mut group);
    ("users", key).write(&mut name);
    (group, name)
}

/// Returns the value of a key.
async fn value(store: &FakeStore, key: u32) -> Bytes {
    let (group, name) = names(key);
    match store.begin(Slot::new(&group, &name), None).await {
        Ok(Begun::Hit { bytes, .. }) => bytes,
        other => panic!("no value: {other:?}"),
    }
}

/// Stores a value under the name of a key, as another program may.
async fn put(store: &FakeStore, key: u32, bytes: Bytes) {
    let (group, name) = names(key);
    let slot = Slot::new(&group, &name);
    store.invalidate(&group).await.unwrap();
    match store.begin(slot, None).await {
        Ok(Begun::Lead(token)) => {
            store.finish(slot, &token, Ending::value(bytes, s(60))).await.unwrap();
        }
        other => panic!("no lock: {other:?}"),
    }
}

/// Expects that the value is a miss that is replaced, and returns why.
async fn rejected(bytes: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
    let events = Events::of("buttress");
    let fleet = Fleet::new(3);
    fleet.replica(0).get(7).await.unwrap();
    settle().await;
    let whole = value(&fleet.store, 7).await;
    put(&fleet.store, 7, bytes(whole.to_vec()).into()).await;
    assert_eq!(fleet.replica(1).get(7).await, Ok(2), "a miss");
    settle().await;
    assert_eq!(fleet.replica(2).get(7).await, Ok(2), "the value was replaced");
    let told = events.named("dedup.entry_rejected");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].field("instance"), Some("users"));
    told[0].field("reason").unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn damaged_value_is_a_miss_and_is_replaced() {
    let flipped = |mut bytes: Vec<u8>| {
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    assert_eq!(rejected(flipped).await, "checksum");
    assert_eq!(rejected(|_| Vec::new()).await, "length");
    assert_eq!(rejected(|bytes| bytes[..20].to_vec()).await, "checksum");
    assert_eq!(rejected(|_| vec![0xff; 100]).await, "version");
}

#[tokio::test(start_paused = true)]
async fn value_that_the_codec_cannot_read_is_a_miss_and_is_replaced() {
    let shortened = |mut bytes: Vec<u8>| {
        bytes.pop();
        let sum = crc32fast::hash(&bytes[5..]).to_be_bytes();
        bytes[1..5].copy_from_slice(&sum);
        bytes
    };
    assert_eq!(rejected(shortened).await, "payload");
}

#[tokio::test(start_paused = true)]
async fn value_of_one_key_is_not_served_under_the_name_of_another() {
    let events = Events::of("buttress");
    let fleet = Fleet::new(2);
    assert_eq!(fleet.replica(0).get(7).await, Ok(1));
    settle().await;
    let stolen = value(&fleet.store, 7).await;
    put(&fleet.store, 8, stolen).await;
    assert_eq!(fleet.replica(1).get(8).await, Ok(2));
    assert_eq!(events.named("dedup.entry_rejected")[0].field("reason"), Some("key"));
}

#[tokio::test(start_paused = true)]
async fn versions_of_a_codec_run_side_by_side() {
    let mut fleet = Fleet::new(1);
    fleet.join(&exactly(s(60)), Numbers::<2>, |shared| shared);
    let events = Events::of("buttress");
    assert_eq!(fleet.replica(0).get(7).await, Ok(1));
    settle().await;
    assert_eq!(fleet.replica(1).get(7).await, Ok(2), "a foreign version is a miss");
    settle().await;
    assert_eq!(events.named("dedup.entry_rejected")[0].field("reason"), Some("codec"));
    assert_eq!(fleet.replica(0).get(7).await, Ok(1), "each serves its own from memory");
    assert_eq!(fleet.replica(1).get(7).await, Ok(2));
    // Together they disagree for a few trips at the most.
    fleet.replicas.iter().for_each(|replica| replica.handle.invalidate_all());
    let outcomes = fleet.get_together(50, 7).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(fleet.source.calls(), 4);
}

/// A codec that breaks its contract.
#[derive(Clone)]
struct Rude;

impl Codec<u32> for Rude {
    const ID: u32 = 1;

    fn encode(&self, _: &u32, out: &mut Vec<u8>, _: usize) -> bool {
        out.extend_from_slice(&[7; 4]);
        true
    }

    fn decode(&self, _: Bytes) -> Option<u32> {
        panic!("as told")
    }
}

#[tokio::test(start_paused = true)]
async fn panic_of_a_codec_that_reads_is_a_miss() {
    let mut fleet = Fleet::new(1);
    fleet.join(&exactly(s(60)), Rude, |shared| shared);
    assert_eq!(fleet.replica(0).get(7).await, Ok(1));
    settle().await;
    assert_eq!(fleet.replica(1).get(7).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn layers_with_other_names_share_nothing() {
    let fleet = Fleet::new(1);
    fleet.replica(0).get(7).await.unwrap();
    settle().await;
    let (group, name) = {
        let (mut group, mut name) = (Vec::new(), Vec::new());
        ("orders", 0_u8, 7_u32).write(&mut group);
        ("orders", 7_u32).write(&mut name);
        (group, name)
    };
    let begun = fleet.store.begin(Slot::new(&group, &name), None).await.unwrap();
    assert!(matches!(begun, Begun::Lead(_)), "{begun:?}");
}

#[tokio::test(start_paused = true)]
async fn value_is_stored_for_its_lifetime_and_at_most_a_day() {
    let year = Duration::from_secs(365 * 24 * 3600);
    for (ttl, stored) in [(s(60), s(60)), (year, s(24 * 3600))] {
        let fleet = Fleet::with(1, &exactly(ttl), |shared| shared);
        fleet.replica(0).get(7).await.unwrap();
        settle().await;
        let (group, name) = names(7);
        match fleet.store.begin(Slot::new(&group, &name), None).await.unwrap() {
            Begun::Hit { ttl, .. } => assert!(ttl <= stored && ttl + s(1) > stored, "{ttl:?}"),
            other => panic!("no value: {other:?}"),
        }
    }
}
