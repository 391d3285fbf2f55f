//! Stores and codecs that break their contract.

use std::{
    future::{Future, pending, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use buttress_core::Codec;
use buttress_dedup::{CachedOutcome, DedupLayer, Fetched, Intent, OpenStore, SharedCache, Store};
use buttress_state::{
    Begun, Ending, Finished, FlightStore, Slot, StoreError, StoreErrorKind, Token,
};
use buttress_testkit::{FakeStore, TestError};
use bytes::Bytes;
use futures_util::future::Either;
use tokio::time::{Duration, Instant, sleep};
use tower::ServiceExt;

use crate::{
    replicas::{Fleet, Numbers, settle},
    source::{Source, exactly, ms, s},
    values::names,
};

/// What a store does instead of its duty.
#[derive(Clone, Debug, Default)]
struct Rudeness {
    /// Answers each `begin` with this.
    begun: Option<Begun>,
    /// Ends each wait for a change at once.
    is_hasty: bool,
    /// Never ends a `finish` or an `invalidate`.
    hangs: bool,
    /// Refuses to invalidate groups that end with these bytes.
    refused: Option<Vec<u8>>,
}

/// A store that is rude.
#[derive(Clone, Default)]
struct Rude {
    store: FakeStore,
    how: Arc<Mutex<Rudeness>>,
    begins: Arc<AtomicU64>,
}

impl Rude {
    fn is(how: Rudeness) -> Self {
        let rude = Self::default();
        rude.becomes(how);
        rude
    }

    fn becomes(&self, how: Rudeness) {
        *self.how.lock().unwrap() = how;
    }

    fn how(&self) -> Rudeness {
        self.how.lock().unwrap().clone()
    }

    fn begins(&self) -> u64 {
        self.begins.load(Ordering::SeqCst)
    }

    /// Opens the cache of a process.
    fn open(&self) -> impl Store<u32, Value> + use<> {
        OpenStore::<u32, Value>::open(&SharedCache::new(self.clone(), Numbers::<1>), "users")
    }
}

type Value = CachedOutcome<u32, TestError>;

impl FlightStore for Rude {
    async fn begin(
        &self,
        slot: Slot<'_>,
        newer_than: Option<[u8; 16]>,
    ) -> Result<Begun, StoreError> {
        let begins = self.begins.fetch_add(1, Ordering::SeqCst);
        // Ends a test that would not end. The panic counts as a failure of the store.
        assert!(begins < 10_000, "too many trips");
        match self.how().begun {
            Some(begun) => Ok(begun),
            None => self.store.begin(slot, newer_than).await,
        }
    }

    async fn renew(&self, slot: Slot<'_>, token: &Token) -> Result<bool, StoreError> {
        self.store.renew(slot, token).await
    }

    async fn finish(
        &self,
        slot: Slot<'_>,
        token: &Token,
        ending: Ending,
    ) -> Result<Finished, StoreError> {
        if self.how().hangs {
            pending::<()>().await;
        }
        self.store.finish(slot, token, ending).await
    }

    async fn invalidate(&self, group: &[u8]) -> Result<(), StoreError> {
        let Rudeness { hangs, refused, .. } = self.how();
        if hangs {
            pending::<()>().await;
        }
        if refused.is_some_and(|refused| group.ends_with(&refused)) {
            return Err(StoreErrorKind::Rejected.into());
        }
        self.store.invalidate(group).await
    }

    async fn clear(&self) -> Result<(), StoreError> {
        self.store.clear().await
    }

    fn changed(&self, slot: Slot<'_>, until: Instant) -> impl Future<Output = ()> + Send {
        if self.how().is_hasty {
            return Either::Left(ready(()));
        }
        Either::Right(self.store.changed(slot, until))
    }
}

#[tokio::test(start_paused = true)]
async fn message_without_end_costs_no_more_than_forty_trips_a_second() {
    let rude = Rude::is(Rudeness { is_hasty: true, ..Rudeness::default() });
    rude.store.set_lease(s(60));
    let leader = rude.open().fetch(&7, None, Intent::Miss).unwrap().await;
    let began = Instant::now();
    let fetched = rude.open().fetch(&7, None, Intent::Miss).unwrap().await;
    assert!(matches!(fetched, Fetched::Alone), "{fetched:?}");
    assert_eq!(began.elapsed(), s(5), "waits for max_wait");
    assert!(rude.begins() <= 5 * 40 + 10, "{}", rude.begins());
    drop(leader);
}

#[tokio::test(start_paused = true)]
async fn lock_that_has_no_time_left_for_ever_costs_no_more_trips_than_another() {
    let rude = Rude::is(Rudeness { begun: Some(Begun::Busy(s(0))), ..Rudeness::default() });
    let fetched = rude.open().fetch(&7, None, Intent::Miss).unwrap().await;
    assert!(matches!(fetched, Fetched::Alone), "{fetched:?}");
    assert!(rude.begins() <= 5 * 40 + 10, "{}", rude.begins());
}

#[tokio::test(start_paused = true)]
async fn refresh_waits_neither_for_ever_nor_not_at_all_for_that_of_another_replica() {
    for (left, least, most) in [(Duration::MAX, s(1), s(60)), (s(0), ms(5), s(1))] {
        let rude = Rude::is(Rudeness { begun: Some(Begun::Busy(left)), ..Rudeness::default() });
        let process = rude.open();
        process.insert(7, entry(1), None);
        let stale = process.get(&7).unwrap();
        match process.fetch(&7, None, Intent::Refresh(&stale)).unwrap().await {
            Fetched::Busy(time) => assert!(least <= time && time <= most, "{time:?}"),
            other => panic!("not busy: {other:?}"),
        }
    }
}

fn entry(value: u32) -> Arc<buttress_dedup::CacheEntry<Value>> {
    let lifetime = buttress_core::Lifetime::new(s(60));
    let value = CachedOutcome::Response(value);
    Arc::new(buttress_dedup::CacheEntry::new(value, lifetime, ms(50), 8))
}

#[tokio::test(start_paused = true)]
async fn hit_with_any_time_to_live_ends_a_read() {
    let rude = Rude::default();
    let process = rude.open();
    let Fetched::Lead { lease, .. } = process.fetch(&7, None, Intent::Miss).unwrap().await else {
        panic!("does not lead")
    };
    process.insert(7, entry(1), Some(lease));
    settle().await;
    let (group, name) = names(7);
    let Begun::Hit { bytes, stamp, .. } =
        rude.store.begin(Slot::new(&group, &name), None).await.unwrap()
    else {
        panic!("no hit")
    };
    for (ttl, is_fresh) in [(Duration::MAX, true), (s(0), false)] {
        let begun = Some(Begun::hit(bytes.clone(), ttl, stamp));
        rude.becomes(Rudeness { begun, ..Rudeness::default() });
        let fetched = rude.open().fetch(&7, None, Intent::Miss).unwrap().await;
        assert_eq!(matches!(fetched, Fetched::Hit(_)), is_fresh, "{fetched:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn finish_that_hangs_leaves_no_task_behind() {
    let rude = Rude::is(Rudeness { hangs: true, ..Rudeness::default() });
    let source = Source::new();
    let cache = exactly(s(60)).store(SharedCache::new(rude, Numbers::<1>));
    let service = source.under(&DedupLayer::<buttress_core::Plain>::new().cache(cache));
    for key in 0..10 {
        assert!(service.clone().oneshot(key).await.is_ok());
    }
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(tasks() > 0);
    sleep(s(60)).await;
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn invalidation_that_hangs_makes_readers_wait_only_at_first() {
    let rude = Rude::default();
    let process = rude.open();
    rude.becomes(Rudeness { hangs: true, ..Rudeness::default() });
    process.remove(&7, None);
    sleep(s(60)).await;
    let began = Instant::now();
    let fetched = process.fetch(&7, None, Intent::Miss).unwrap().await;
    assert!(matches!(fetched, Fetched::Alone), "{fetched:?}");
    assert_eq!(began.elapsed(), s(0), "it counts as failed");
}

#[tokio::test(start_paused = true)]
async fn invalidation_that_is_always_refused_holds_up_no_other() {
    let rude = Rude::default();
    let process = rude.open();
    rude.becomes(Rudeness { refused: Some(Vec::new()), ..Rudeness::default() });
    (0..32).for_each(|key| process.remove(&key, None));
    settle().await;
    let refused = Some(0_u32.to_be_bytes().to_vec());
    rude.becomes(Rudeness { refused, ..Rudeness::default() });
    sleep(s(10)).await;
    for key in 1..32 {
        let fetched = process.fetch(&key, None, Intent::Miss).unwrap().await;
        assert!(matches!(fetched, Fetched::Lead { .. }), "{key}: {fetched:?}");
    }
    let fetched = process.fetch(&0, None, Intent::Miss).unwrap().await;
    assert!(matches!(fetched, Fetched::Alone), "still owed: {fetched:?}");
}

/// A codec that panics when it writes.
#[derive(Clone)]
struct Mute;

impl Codec<u32> for Mute {
    const ID: u32 = 1;

    fn encode(&self, _: &u32, _: &mut Vec<u8>, _: usize) -> bool {
        panic!("as told")
    }

    fn decode(&self, _: Bytes) -> Option<u32> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn panic_of_a_codec_that_writes_costs_only_the_copy_in_the_store() {
    let mut fleet = Fleet::new(0);
    fleet.join(&exactly(s(60)), Mute, |shared| shared);
    fleet.join(&exactly(s(60)), Numbers::<1>, |shared| shared);
    assert_eq!(fleet.replica(0).get(7).await, Ok(1));
    assert_eq!(fleet.replica(0).get(7).await, Ok(1), "memory has the response");
    settle().await;
    assert_eq!(fleet.replica(1).get(7).await, Ok(2));
    assert_eq!(fleet.replica(1).handle.snapshot().store_alone, 1, "others do not wait for it");
}

#[tokio::test(start_paused = true)]
async fn max_wait_of_zero_waits_for_no_other_replica_and_reads_the_store() {
    let fleet = Fleet::with(2, &exactly(s(60)), |shared| shared.max_wait(s(0)));
    let leader = fleet.replica(0).spawn(7);
    sleep(ms(10)).await;
    let began = Instant::now();
    assert_eq!(fleet.replica(1).get(7).await, Ok(2));
    assert!(began.elapsed() <= ms(50) + crate::wire::TRIP, "{:?}", began.elapsed());
    assert_eq!(leader.await.unwrap(), Ok(1));
    assert_eq!(fleet.replica(0).get(8).await, Ok(3));
    settle().await;
    assert_eq!(fleet.replica(1).get(8).await, Ok(3), "the store was read");
    assert_eq!(fleet.sum(|snapshot| snapshot.store_leads), 2);
}
