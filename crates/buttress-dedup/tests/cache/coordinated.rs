//! A store that several processes share, with an answer that the test gives by hand to each read.

use std::{
    collections::VecDeque,
    mem::take,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use buttress_core::{Deadline, Lifetime};
use buttress_dedup::{
    Cache, CacheEntry, CachedOutcome, DedupHandle, DedupLayer, DedupSnapshot, EarlyRefresh,
    Fetched, Intent, OpenStore, Store, StoreCounts,
};
use buttress_testkit::{TestError, counts};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout, timeout_at},
};

use crate::{
    invalidating_requests::LastDigit,
    store::NoOlder,
    support::{Cached, Does, Source, exactly, ms, s, settle},
};

type Value = CachedOutcome<u32, TestError>;
type Answer = Fetched<Value, Lease>;

/// What the layer has told the store, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Opened(String),
    /// A read of a key, its resource, and whether the read has an intent to refresh this value and stamp.
    Fetch(u32, Option<u64>, Option<(u32, Option<u8>)>),
    Kept(u32, u32),
    /// A key, its value, and the lease.
    Inserted(u32, u32, Option<u8>),
    Declined(u32, u8),
    /// The lease was dropped: the flight was abandoned.
    Abandoned(u8),
    Removed(u32, Option<u64>),
    Invalidated(u64),
    Cleared,
}

#[derive(Clone, Default)]
struct Fleet(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    told: Vec<Told>,
    /// The reads that wait for their answer.
    reads: VecDeque<oneshot::Sender<Answer>>,
    /// The entries in this process.
    near: Vec<(u32, Arc<CacheEntry<Value>>)>,
    keeps: bool,
    /// Invalidates the key during the next `keep`.
    invalidates: Option<DedupHandle>,
}

/// A lease with its number.
struct Lease(Fleet, Option<u8>);

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(number) = self.1 {
            self.0.tell(Told::Abandoned(number));
        }
    }
}

impl Lease {
    fn end(mut self) -> u8 {
        self.1.take().unwrap()
    }
}

impl Fleet {
    fn with<R>(&self, f: impl FnOnce(&mut Inside) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, told: Told) {
        self.with(|inside| inside.told.push(told));
    }

    /// Takes what the store was told since the last time.
    fn told(&self) -> Vec<Told> {
        self.with(|inside| take(&mut inside.told))
    }

    /// A store that keeps entries in this process.
    fn keeping() -> Self {
        let fleet = Self::default();
        fleet.with(|inside| inside.keeps = true);
        fleet
    }

    /// Answers the oldest read, once there is one.
    async fn answers(&self, answer: Answer) {
        settle_tasks().await;
        let read = self.with(|inside| inside.reads.pop_front()).unwrap();
        assert!(read.send(answer).is_ok(), "the read was dropped");
        settle_tasks().await;
    }

    fn lead(&self, number: u8, spare: Option<Arc<CacheEntry<Value>>>) -> Answer {
        Fetched::lead(Lease(self.clone(), Some(number)), spare)
    }

    fn cache(&self) -> Cache<Self> {
        exactly(s(10)).store(self.clone())
    }
}

impl OpenStore<u32, Value> for Fleet {
    type Store = Self;

    fn open(&self, instance: &str) -> Self {
        self.tell(Told::Opened(instance.to_owned()));
        self.clone()
    }
}

impl Store<u32, Value> for Fleet {
    type Lease = Lease;
    type Fetch = std::pin::Pin<Box<dyn Future<Output = Answer> + Send>>;

    const IS_COORDINATED: bool = true;

    fn get(&self, key: &u32) -> Option<Arc<CacheEntry<Value>>> {
        self.with(|inside| {
            let near = inside.near.iter().find(|(near, _)| near == key);
            near.map(|(_, entry)| Arc::clone(entry))
        })
    }

    fn fetch(
        &self,
        key: &u32,
        resource: Option<u64>,
        intent: Intent<'_, Value>,
    ) -> Option<Self::Fetch> {
        let refreshed = match intent {
            Intent::Refresh(entry) => Some((number(entry), entry.stamp().map(|stamp| stamp[0]))),
            _ => None,
        };
        let (answer, read) = oneshot::channel();
        self.tell(Told::Fetch(*key, resource, refreshed));
        self.with(|inside| inside.reads.push_back(answer));
        Some(Box::pin(async move { read.await.unwrap() }))
    }

    fn keep(&self, key: &u32, entry: &Arc<CacheEntry<Value>>) {
        self.tell(Told::Kept(*key, number(entry)));
        if let Some(handle) = self.with(|inside| inside.invalidates.take()) {
            handle.invalidate(key);
        }
        self.with(|inside| {
            if inside.keeps {
                inside.near.retain(|(near, _)| near != key);
                inside.near.push((*key, Arc::clone(entry)));
            }
        });
    }

    fn insert(&self, key: u32, mut entry: Arc<CacheEntry<Value>>, lease: Option<Lease>) {
        let lease = lease.map(Lease::end);
        self.tell(Told::Inserted(key, number(&entry), lease));
        if let Some(lease) = lease {
            Arc::get_mut(&mut entry).unwrap().set_stamp([lease; 16]);
        }
        self.with(|inside| {
            if inside.keeps {
                inside.near.retain(|(near, _)| *near != key);
                inside.near.push((key, entry));
            }
        });
    }

    fn decline(&self, key: &u32, _: Option<u64>, lease: Lease) {
        self.tell(Told::Declined(*key, lease.end()));
    }

    fn remove(&self, key: &u32, resource: Option<u64>) {
        self.tell(Told::Removed(*key, resource));
        self.with(|inside| inside.near.retain(|(near, _)| near != key));
    }

    fn invalidate_resource(&self, resource: u64) {
        self.tell(Told::Invalidated(resource));
    }

    fn clear(&self) {
        self.tell(Told::Cleared);
        self.with(|inside| inside.near.clear());
    }

    fn size(&self) -> (usize, u64) {
        (self.with(|inside| inside.near.len()), 0)
    }

    fn counts(&self) -> Option<StoreCounts> {
        Some(counts!(StoreCounts {
            hits: 1,
            leads: 2,
            waits: 3,
            alone: 4,
            superseded: 5,
            errors: 6
        }))
    }
}

fn number(entry: &CacheEntry<Value>) -> u32 {
    match entry.value() {
        CachedOutcome::Response(number) => *number,
        other => unreachable!("no error is cached here: {other:?}"),
    }
}

/// An entry that another process has stored, with this number as its value and its stamp.
fn entry(number: u8, lifetime: Lifetime) -> CacheEntry<Value> {
    let value = CachedOutcome::Response(u32::from(number));
    let mut entry = CacheEntry::new(value, lifetime, ms(50), 8);
    entry.set_stamp([number; 16]);
    entry
}

fn hit(number: u8, lifetime: Lifetime) -> Answer {
    Fetched::Hit(Arc::new(entry(number, lifetime)))
}

fn fresh() -> Lifetime {
    Lifetime::new(s(10))
}

/// Stale for 5 s, with windows that end 10 s from now.
fn stale(number: u8) -> CacheEntry<Value> {
    let lifetime = counts!(Lifetime {
        stale_while_revalidate: s(15),
        stale_if_error: s(15),
        ..Lifetime::new(s(10))
    });
    entry(number, lifetime).aged(s(15))
}

/// Too stale to be served, except in place of a failure.
fn stale_if_error(number: u8) -> Arc<CacheEntry<Value>> {
    Arc::new(entry(number, counts!(Lifetime { stale_if_error: s(10) })))
}

fn call(cached: &Cached, key: u32) -> JoinHandle<Result<u32, TestError>> {
    let cached = cached.clone();
    tokio::spawn(async move { cached.get(key).await })
}

/// Lets the tasks run until all of them wait, without a change of the time.
async fn settle_tasks() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

const MISS: Told = Told::Fetch(7, None, None);

/// A layer over a slow source, opened.
fn slow(fleet: &Fleet, cache: Cache<Fleet>) -> Cached {
    let cached = Cached::slow(cache);
    fleet.told();
    cached
}

#[tokio::test(start_paused = true)]
async fn store_is_opened_with_the_name_of_the_layer() {
    let fleet = Fleet::default();
    let layer = DedupLayer::new().cache(fleet.cache()).named("users");
    let cached = Cached::over(Source::new(), &layer);
    let caller = call(&cached, 7);
    fleet.answers(Fetched::Alone).await;
    assert_eq!(caller.await.unwrap(), Ok(1));
    assert_eq!(fleet.told(), [Told::Opened("users".to_owned()), MISS, Told::Inserted(7, 1, None)]);
}

#[tokio::test(start_paused = true)]
async fn lease_goes_to_the_insert_of_the_one_call_that_all_callers_share() {
    let fleet = Fleet::default();
    let cached = slow(&fleet, fleet.cache());
    let callers = [call(&cached, 7), call(&cached, 7), call(&cached, 7)];
    fleet.answers(fleet.lead(9, None)).await;
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Ok(1));
    }
    assert_eq!(fleet.told()[1..], [MISS, Told::Inserted(7, 1, Some(9))]);
}

#[tokio::test(start_paused = true)]
async fn lease_is_dropped_when_the_call_fails_panics_or_is_cancelled() {
    for does in [Does::Fail(TestError::NotFound), Does::Panic, Does::Hang] {
        let fleet = Fleet::default();
        let cached = slow(&fleet, fleet.cache());
        cached.source.does(does);
        let caller = call(&cached, 7);
        fleet.answers(fleet.lead(9, None)).await;
        assert_eq!(fleet.told()[1..], [MISS]);
        sleep(ms(50)).await;
        if does == Does::Hang {
            assert_eq!(fleet.told(), [], "the lease lives as long as the call");
            caller.abort();
        }
        drop(caller.await);
        assert_eq!(fleet.told(), [Told::Abandoned(9)], "{does:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn lease_of_a_response_that_may_not_be_stored_is_declined() {
    let fleet = Fleet::default();
    let cached = slow(&fleet, Cache::from_headers().store(fleet.clone()));
    let caller = call(&cached, 7);
    fleet.answers(fleet.lead(9, None)).await;
    assert_eq!(caller.await.unwrap(), Ok(1));
    assert_eq!(fleet.told()[1..], [MISS, Told::Declined(7, 9)]);
}

#[tokio::test(start_paused = true)]
async fn lease_of_a_key_that_was_invalidated_during_its_call_is_dropped() {
    let fleet = Fleet::default();
    let cached = slow(&fleet, fleet.cache());
    let caller = call(&cached, 7);
    fleet.answers(fleet.lead(9, None)).await;
    cached.handle.invalidate(&7_u32);
    assert_eq!(caller.await.unwrap(), Ok(1));
    assert_eq!(fleet.told()[1..], [MISS, Told::Removed(7, None), Told::Abandoned(9)]);
}

#[tokio::test(start_paused = true)]
async fn spare_is_served_in_place_of_a_failure_and_the_lease_is_dropped() {
    for does in [Does::Fail(TestError::Failed), Does::Panic, Does::Answer] {
        let fleet = Fleet::default();
        let cached = slow(&fleet, fleet.cache());
        cached.source.does(does);
        let caller = call(&cached, 7);
        fleet.answers(fleet.lead(9, Some(stale_if_error(42)))).await;
        let outcome = caller.await.unwrap();
        if does == Does::Answer {
            assert_eq!(outcome, Ok(1));
            assert_eq!(fleet.told()[1..], [MISS, Told::Inserted(7, 1, Some(9))]);
        } else {
            assert_eq!(outcome, Ok(42), "{does:?}");
            assert_eq!(fleet.told()[1..], [MISS, Told::Abandoned(9)]);
            assert_eq!(cached.handle.stale_hits(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn busy_answer_to_a_miss_counts_as_alone() {
    let fleet = Fleet::default();
    let cached = slow(&fleet, fleet.cache());
    let callers = [call(&cached, 7), call(&cached, 7)];
    fleet.answers(Fetched::Busy(s(3))).await;
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Ok(1));
    }
    assert_eq!(fleet.told()[1..], [MISS, Told::Inserted(7, 1, None)]);
}

#[tokio::test(start_paused = true)]
async fn fresh_hit_answers_all_callers_and_is_kept_in_this_process() {
    let fleet = Fleet::keeping();
    let cached = slow(&fleet, fleet.cache());
    let callers = [call(&cached, 7), call(&cached, 7)];
    fleet.answers(hit(42, fresh())).await;
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Ok(42));
    }
    assert_eq!(cached.get(7).await, Ok(42));
    assert_eq!(cached.source.calls(), 0);
    assert_eq!(fleet.told()[1..], [MISS, Told::Kept(7, 42)]);
}

#[tokio::test(start_paused = true)]
async fn hit_invalidated_while_it_is_kept_is_removed_again() {
    let fleet = Fleet::keeping();
    let cached = slow(&fleet, fleet.cache());
    fleet.with(|inside| inside.invalidates = Some(cached.handle.clone()));
    let caller = call(&cached, 7);
    fleet.answers(hit(42, fresh())).await;
    assert_eq!(caller.await.unwrap(), Ok(42), "the caller came before");
    let removed = Told::Removed(7, None);
    assert_eq!(fleet.told()[1..], [MISS, Told::Kept(7, 42), removed.clone(), removed]);
    let caller = call(&cached, 7);
    fleet.answers(Fetched::Alone).await;
    assert_eq!(caller.await.unwrap(), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn stale_hit_answers_at_once_and_is_refreshed_with_its_stamp() {
    let fleet = Fleet::keeping();
    let cached = slow(&fleet, fleet.cache());
    let callers = [call(&cached, 7), call(&cached, 7)];
    fleet.answers(Fetched::Hit(Arc::new(stale(42)))).await;
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Ok(42));
    }
    let refresh = Told::Fetch(7, None, Some((42, Some(42))));
    assert_eq!(fleet.told()[1..], [MISS, Told::Kept(7, 42), refresh]);
    fleet.answers(fleet.lead(9, None)).await;
    assert_eq!(cached.get(7).await, Ok(42), "served during the refresh");
    settle().await;
    assert_eq!(fleet.told(), [Told::Inserted(7, 1, Some(9))]);
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!((cached.source.calls(), cached.handle.refreshes()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn busy_refresh_makes_no_call_and_waits_for_the_lock_before_the_next() {
    let fleet = Fleet::keeping();
    let cached = slow(&fleet, fleet.cache());
    let caller = call(&cached, 7);
    fleet.answers(Fetched::Hit(Arc::new(stale(42)))).await;
    assert_eq!(caller.await.unwrap(), Ok(42));
    fleet.answers(Fetched::Busy(s(2))).await;
    fleet.told();
    for _ in 0..19 {
        sleep(ms(100)).await;
        assert_eq!(cached.get(7).await, Ok(42));
        assert_eq!(fleet.told(), [], "another process holds the lock");
    }
    sleep(ms(100)).await;
    assert_eq!(cached.get(7).await, Ok(42));
    settle_tasks().await;
    assert_eq!(fleet.told(), [Told::Fetch(7, None, Some((42, Some(42))))]);
    fleet.answers(hit(43, fresh())).await;
    assert_eq!(cached.get(7).await, Ok(43), "the entry of the other process");
    assert_eq!(cached.source.calls(), 0);
    assert_eq!(cached.handle.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn caller_that_joins_a_busy_refresh_starts_again() {
    let fleet = Fleet::keeping();
    let cached = Cached::over(Source::new(), &DedupLayer::keyed(NoOlder).cache(fleet.cache()));
    let first = call(&cached, 7);
    fleet.answers(Fetched::Hit(Arc::new(stale(42)))).await;
    assert_eq!(first.await.unwrap(), Ok(42));
    // The kept entry is older than 1 s.
    let second = call(&cached, 107);
    settle_tasks().await;
    assert_eq!(cached.handle.followers(), 1);
    fleet.answers(Fetched::Busy(s(2))).await;
    fleet.answers(fleet.lead(9, None)).await;
    assert_eq!(second.await.unwrap(), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn entry_too_old_for_the_request_is_renewed_for_all() {
    let fleet = Fleet::default();
    let cached = Cached::over(Source::new(), &DedupLayer::keyed(NoOlder).cache(fleet.cache()));
    let caller = call(&cached, 107);
    let old = counts!(Lifetime { age: s(60), ..fresh() });
    fleet.answers(hit(42, old)).await;
    fleet.answers(fleet.lead(9, None)).await;
    assert_eq!(caller.await.unwrap(), Ok(1));
    let again = Told::Fetch(7, None, Some((42, Some(42))));
    assert_eq!(fleet.told()[1..], [MISS, again, Told::Inserted(7, 1, Some(9))]);
}

#[tokio::test(start_paused = true)]
async fn store_is_asked_again_only_once_and_then_the_call_goes_alone() {
    let fleet = Fleet::default();
    let cached = Cached::over(Source::new(), &DedupLayer::keyed(NoOlder).cache(fleet.cache()));
    let caller = call(&cached, 107);
    let old = counts!(Lifetime { age: s(60), ..fresh() });
    fleet.answers(hit(42, old)).await;
    fleet.answers(hit(43, old)).await;
    assert_eq!(caller.await.unwrap(), Ok(1));
    assert_eq!(fleet.told()[3..], [Told::Inserted(7, 1, None)]);
}

#[tokio::test(start_paused = true)]
async fn hit_for_failures_only_is_kept_for_a_failure() {
    let fleet = Fleet::default();
    let cached = slow(&fleet, fleet.cache());
    cached.source.does(Does::Fail(TestError::Failed));
    let caller = call(&cached, 7);
    fleet.answers(Fetched::Hit(stale_if_error(42))).await;
    fleet.answers(fleet.lead(9, None)).await;
    assert_eq!(caller.await.unwrap(), Ok(42));
    let again = Told::Fetch(7, None, Some((42, Some(42))));
    assert_eq!(fleet.told()[1..], [MISS, again, Told::Abandoned(9)]);
}

#[tokio::test(start_paused = true)]
async fn early_refresh_of_a_hit_counts_with_the_time_that_its_call_took() {
    let fleet = Fleet::keeping();
    let cached = slow(&fleet, fleet.cache().early_refresh(EarlyRefresh::new(1e9)));
    let caller = call(&cached, 7);
    fleet.answers(hit(42, fresh())).await;
    assert_eq!(caller.await.unwrap(), Ok(42));
    fleet.answers(fleet.lead(9, None)).await;
    settle().await;
    let refresh = Told::Fetch(7, None, Some((42, Some(42))));
    let inserted = Told::Inserted(7, 1, Some(9));
    assert_eq!(fleet.told()[1..], [MISS, Told::Kept(7, 42), refresh, inserted]);
}

#[tokio::test(start_paused = true)]
async fn own_entry_is_refreshed_with_the_stamp_of_its_insert() {
    let fleet = Fleet::keeping();
    let cached = slow(&fleet, fleet.cache().stale_while_revalidate(s(10)));
    let caller = call(&cached, 7);
    fleet.answers(fleet.lead(9, None)).await;
    assert_eq!(caller.await.unwrap(), Ok(1));
    sleep(s(11)).await;
    fleet.told();
    assert_eq!(cached.get(7).await, Ok(1));
    settle_tasks().await;
    assert_eq!(fleet.told(), [Told::Fetch(7, None, Some((1, Some(9))))]);
}

#[tokio::test(start_paused = true)]
async fn invalidations_name_the_resource_and_later_reads_are_served() {
    let fleet = Fleet::keeping();
    let cached =
        Cached::over(Source::at_once(), &DedupLayer::keyed(LastDigit).cache(fleet.cache()));
    let caller = call(&cached, 7);
    fleet.answers(hit(42, fresh())).await;
    assert_eq!(caller.await.unwrap(), Ok(42));
    fleet.told();
    let resource = buttress_core::KeyOf::<u32>::resource(&LastDigit, &7);
    assert!(cached.handle.invalidate(&7_u32));
    assert_eq!(fleet.told(), [Told::Removed(7, resource)]);
    // A successful change.
    assert_eq!(cached.get(107).await, Ok(1));
    assert_eq!(fleet.told(), [Told::Invalidated(resource.unwrap())]);
    for _ in 0..2 {
        let caller = call(&cached, 7);
        settle_tasks().await;
        if !caller.is_finished() {
            fleet.answers(hit(43, fresh())).await;
        }
        assert_eq!(caller.await.unwrap(), Ok(43));
    }
    assert_eq!(fleet.told(), [Told::Fetch(7, resource, None), Told::Kept(7, 43)]);
    cached.handle.invalidate_all();
    assert_eq!(fleet.told(), [Told::Cleared]);
}

#[tokio::test(start_paused = true)]
async fn hit_read_during_a_change_is_not_served() {
    let fleet = Fleet::keeping();
    let cached =
        Cached::over(Source::at_once(), &DedupLayer::keyed(LastDigit).cache(fleet.cache()));
    let caller = call(&cached, 7);
    settle_tasks().await;
    assert_eq!(cached.get(107).await, Ok(1));
    fleet.answers(hit(42, fresh())).await;
    assert_eq!(caller.await.unwrap(), Ok(2));
    assert!(!fleet.told().contains(&Told::Kept(7, 42)));
}

/// Makes a call without a deadline, and one with a deadline that passes. Returns the first.
async fn outlasted(cached: &Cached) -> JoinHandle<Result<u32, TestError>> {
    let patient = call(cached, 7);
    settle_tasks().await;
    let deadline = Deadline::after(s(1));
    let call = deadline.around(async { cached.get(7).await });
    assert!(timeout_at(deadline.instant(), call).await.is_err());
    patient
}

#[tokio::test(start_paused = true)]
async fn read_that_waits_for_another_process_does_not_mark_the_store_as_slow() {
    let fleet = Fleet::default();
    let cached = slow(&fleet, fleet.cache());
    let patient = outlasted(&cached).await;
    // The next flight of the key gives the store a head start of 10 ms, and does not wait any longer.
    assert_eq!(timeout(ms(61), cached.get(7)).await, Ok(Ok(1)));
    // A flight of another key waits for the store.
    let other = call(&cached, 8);
    sleep(s(1)).await;
    assert_eq!(cached.source.calls(), 1);
    let reads_of_7 = fleet.with(|inside| (inside.reads.pop_front(), inside.reads.pop_front()));
    fleet.answers(hit(42, fresh())).await;
    assert_eq!(other.await.unwrap(), Ok(42));
    patient.abort();
    drop(reads_of_7);
}

#[tokio::test(start_paused = true)]
async fn lease_that_comes_during_a_call_takes_its_result() {
    let fleet = Fleet::default();
    let cached = slow(&fleet, fleet.cache());
    let patient = outlasted(&cached).await;
    let first_read = fleet.with(|inside| inside.reads.pop_front());
    fleet.told();
    let caller = call(&cached, 7);
    sleep(ms(20)).await;
    assert_eq!(cached.source.calls(), 1, "the store had its head start");
    fleet.answers(fleet.lead(9, None)).await;
    assert_eq!(caller.await.unwrap(), Ok(1));
    assert_eq!(fleet.told(), [MISS, Told::Inserted(7, 1, Some(9))]);
    patient.abort();
    drop(first_read);
}

#[tokio::test(start_paused = true)]
async fn observed_call_is_made_after_a_hit_and_gives_its_lease_the_result() {
    let fleet = Fleet::default();
    let layer = DedupLayer::new().cache(fleet.cache()).observe();
    let cached = Cached::over(Source::new(), &layer);
    let caller = call(&cached, 7);
    fleet.answers(Fetched::Hit(Arc::new(stale(42)))).await;
    assert_eq!(caller.await.unwrap(), Ok(1));
    let caller = call(&cached, 8);
    fleet.answers(fleet.lead(9, None)).await;
    assert_eq!(caller.await.unwrap(), Ok(2));
    let told = fleet.told();
    assert_eq!(told[1..3], [MISS, Told::Inserted(7, 1, None)]);
    assert_eq!(told[3..], [Told::Fetch(8, None, None), Told::Inserted(8, 2, Some(9))]);
    assert_eq!((cached.handle.cache_hits(), cached.handle.refreshes()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn snapshot_has_the_numbers_of_the_store() {
    let fleet = Fleet::default();
    let cached = slow(&fleet, fleet.cache());
    let caller = call(&cached, 7);
    fleet.answers(hit(42, fresh())).await;
    assert_eq!(caller.await.unwrap(), Ok(42));
    let expected = counts!(DedupSnapshot {
        calls: 1,
        leaders: 1,
        cache_hits: 1,
        store_hits: 1,
        store_leads: 2,
        store_waits: 3,
        store_alone: 4,
        superseded: 5,
        store_errors: 6
    });
    assert_eq!(cached.handle.snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn aged_entry_knows_its_age_and_how_long_it_has_been_stale() {
    let lifetime = stale(42).lifetime();
    let left = counts!(Lifetime {
        stale_while_revalidate: s(10),
        stale_if_error: s(10),
        age: s(15),
        ..Lifetime::default()
    });
    assert_eq!(lifetime, left);
    let young = entry(42, fresh()).aged(s(3)).lifetime();
    assert_eq!((young.fresh, young.age), (s(7), s(3)));
    let none = entry(42, fresh()).aged(Duration::MAX);
    assert!(none.is_expired());
    assert_eq!(none.stamp(), Some([42; 16]));
}
