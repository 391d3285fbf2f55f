//! A custom store outside the process.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_core::{Deadline, KeyOf, Lifetime, Reason, Verdict, WantedFreshness};
use buttress_dedup::{
    CacheEntry, CachedOutcome, DedupHandle, DedupLayer, DedupSnapshot, Fetched, Intent, OpenStore,
    Store,
};
use buttress_testkit::{TestError, counts};
use futures_util::future::join_all;
use tokio::time::{Instant, advance, sleep, timeout};
use tokio_test::{assert_pending, task};

use crate::{
    invalidating_requests::LastDigit,
    support::{Cached, Does, Source, exactly, ms, s, settle},
};

type Value = CachedOutcome<u32, TestError>;

/// A store whose fetch takes 5 ms, and that keeps entries until they expire.
#[derive(Clone, Default)]
struct Remote {
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    rows: HashMap<u32, Row>,
    gets: usize,
    puts: usize,
    removes: usize,
    does: Trouble,
    /// Entries are available without a fetch too.
    is_near: bool,
    /// Invalidates the key during the next insert.
    forgets: Option<DedupHandle>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Trouble {
    #[default]
    None,
    GetPanics,
    AnswerPanics,
    AnswerHangs,
    /// The fetch never ends, and uses no timer.
    AnswerNeverComes,
    PutPanics,
}

/// A stored entry.
#[derive(Clone, Copy)]
struct Row {
    value: Result<u32, TestError>,
    lifetime: Lifetime,
    took: Duration,
    weight: usize,
    since: Instant,
}

impl Remote {
    fn with<R>(&self, f: impl FnOnce(&mut Inside) -> R) -> R {
        f(&mut self.inside.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn gets(&self) -> usize {
        self.with(|inside| inside.gets)
    }

    /// Stores an entry, as another process would.
    fn seed(&self, key: u32, value: Result<u32, TestError>, lifetime: Lifetime) {
        let row = Row { value, lifetime, took: ms(50), weight: 4, since: Instant::now() };
        self.with(|inside| inside.rows.insert(key, row));
    }

    fn value(&self, key: u32) -> Option<Result<u32, TestError>> {
        self.with(|inside| inside.rows.get(&key).map(|row| row.value))
    }

    fn cache(&self) -> buttress_dedup::Cache<Self> {
        exactly(s(10)).store(self.clone())
    }
}

impl OpenStore<u32, Value> for Remote {
    type Store = Self;

    fn open(&self, _: &str) -> Self {
        self.clone()
    }
}

impl Row {
    fn kept(&self) -> Option<Arc<CacheEntry<Value>>> {
        let value = match self.value {
            Ok(number) => CachedOutcome::Response(number),
            Err(error) => CachedOutcome::Error(Arc::new(error)),
        };
        let past = self.since.elapsed();
        let late = past.saturating_sub(self.lifetime.fresh);
        let lifetime = counts!(Lifetime {
            fresh: self.lifetime.fresh.saturating_sub(past),
            stale_while_revalidate: self.lifetime.stale_while_revalidate.saturating_sub(late),
            stale_if_error: self.lifetime.stale_if_error.saturating_sub(late),
            age: self.lifetime.age.saturating_add(past),
            is_explicit: self.lifetime.is_explicit,
        });
        let kept = CacheEntry::new(value, lifetime, self.took, self.weight);
        (!kept.is_expired()).then(|| Arc::new(kept))
    }
}

impl Store<u32, Value> for Remote {
    type Lease = ();
    type Fetch = Pin<Box<dyn Future<Output = Fetched<Value, ()>> + Send>>;

    fn get(&self, key: &u32) -> Option<Arc<CacheEntry<Value>>> {
        self.with(|inside| inside.rows.get(key).filter(|_| inside.is_near)?.kept())
    }

    fn fetch(&self, key: &u32, _: Option<u64>, _: Intent<'_, Value>) -> Option<Self::Fetch> {
        let does = self.with(|inside| {
            inside.gets += 1;
            inside.does
        });
        assert!(does != Trouble::GetPanics, "as told");
        let (remote, key) = (self.clone(), *key);
        Some(Box::pin(async move {
            if does == Trouble::AnswerNeverComes {
                std::future::pending::<()>().await;
            }
            // The request reaches the store after 2 ms.
            sleep(ms(2)).await;
            assert!(does != Trouble::AnswerPanics, "as told");
            if does == Trouble::AnswerHangs {
                std::future::pending::<()>().await;
            }
            let row = remote.with(|inside| inside.rows.get(&key).copied());
            sleep(ms(3)).await;
            row.and_then(|row| row.kept()).map_or(Fetched::Alone, Fetched::Hit)
        }))
    }

    fn insert(&self, key: u32, kept: Arc<CacheEntry<Value>>, _: Option<()>) {
        let value = match kept.value() {
            CachedOutcome::Response(number) => Ok(*number),
            CachedOutcome::Error(error) => Err(**error),
            other => unreachable!("an outcome is a response or an error: {other:?}"),
        };
        let (lifetime, took, weight) = (kept.lifetime(), kept.took(), kept.weight());
        let row = Row { value, lifetime, took, weight, since: Instant::now() };
        if let Some(handle) = self.with(|inside| inside.forgets.take()) {
            handle.invalidate(&key);
        }
        self.with(|inside| {
            assert!(inside.does != Trouble::PutPanics, "as told");
            inside.puts += 1;
            inside.rows.insert(key, row);
        });
    }

    fn remove(&self, key: &u32, _: Option<u64>) {
        self.with(|inside| {
            inside.removes += 1;
            inside.rows.remove(key);
        });
    }

    fn clear(&self) {
        self.with(|inside| inside.rows.clear());
    }

    fn size(&self) -> (usize, u64) {
        self.with(|inside| {
            (inside.rows.len(), inside.rows.values().map(|row| row.weight as u64).sum())
        })
    }
}

fn fresh(time: Duration) -> Lifetime {
    Lifetime::new(time)
}

#[tokio::test(start_paused = true)]
async fn hundred_callers_share_one_store_fetch_and_one_call_on_a_miss() {
    let remote = Remote::default();
    let cached = Cached::slow(remote.cache());
    let asked = Instant::now();
    let all = cached.get_together(100, 7).await;
    assert_eq!(all, [Ok(1); 100]);
    assert_eq!(asked.elapsed(), ms(55));
    assert_eq!(remote.gets(), 1);
    assert_eq!(cached.source.calls(), 1);
    assert_eq!(cached.handle.cache_hits(), 0);
    assert_eq!(remote.with(|inside| inside.puts), 1);
    assert_eq!(remote.value(7), Some(Ok(1)));
    let expected = counts!(DedupSnapshot {
        calls: 100,
        leaders: 1,
        followers: 99,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(cached.handle.snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn store_hit_answers_all_callers_without_a_call() {
    let remote = Remote::default();
    remote.seed(7, Ok(42), fresh(s(5)));
    let cached = Cached::slow(remote.cache());
    let asked = Instant::now();
    let all = cached.get_together(100, 7).await;
    assert_eq!(all, [Ok(42); 100]);
    assert_eq!(asked.elapsed(), ms(5));
    assert_eq!(remote.gets(), 1);
    assert_eq!(cached.source.calls(), 0);
    let expected = counts!(DedupSnapshot {
        calls: 100,
        leaders: 1,
        followers: 99,
        cache_hits: 100,
        cache_entries: 1,
        cache_bytes: cached.handle.cache_bytes()
    });
    assert_eq!(cached.handle.snapshot(), expected);
    advance(s(5)).await;
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(remote.gets(), 2);
}

#[tokio::test(start_paused = true)]
async fn stored_entry_serves_another_layer_for_its_remaining_lifetime() {
    let remote = Remote::default();
    let (there, here) = (Cached::slow(remote.cache()), Cached::slow(remote.cache()));
    assert_eq!(there.get(7).await, Ok(1));
    advance(ms(9_990)).await;
    assert_eq!(here.get(7).await, Ok(1));
    assert_eq!(here.source.calls(), 0);
    advance(ms(10)).await;
    assert_eq!(here.get(7).await, Ok(1));
    assert_eq!(here.source.calls(), 1, "1 is the value of its own first call");
}

/// Requests are `100 * age + key`. If `age` is not zero, the response may be `age` seconds old at most.
#[derive(Clone)]
pub(crate) struct NoOlder;

impl KeyOf<u32> for NoOlder {
    type Key = u32;

    fn key(&self, request: &u32) -> Option<u32> {
        self.key_and_freshness(request).map(|(key, _)| key)
    }

    fn key_and_freshness(&self, request: &u32) -> Option<(u32, WantedFreshness)> {
        let max_age = (*request >= 100).then(|| s(u64::from(request / 100)));
        Some((request % 100, WantedFreshness { max_age, ..WantedFreshness::default() }))
    }
}

#[tokio::test(start_paused = true)]
async fn stored_entry_does_not_answer_requests_for_a_newer_one() {
    let remote = Remote::default();
    remote.seed(7, Ok(42), counts!(Lifetime { age: s(60), ..fresh(s(100)) }));
    let cached = Cached::over(Source::new(), &DedupLayer::keyed(NoOlder).cache(remote.cache()));
    // The leader accepts the stored entry, but one of the followers does not.
    let (any, newer, older) = tokio::join!(cached.get(7), cached.get(1_007), cached.get(9_907));
    assert_eq!(any, Ok(42));
    assert_eq!(newer, Ok(1));
    assert_eq!(older, Ok(42));
    assert_eq!(cached.source.calls(), 1);
    assert_eq!(cached.handle.bypassed(), 1);
    // If the leader wants a newer response, all callers get that one.
    let (newer, any) = tokio::join!(cached.get(1_007), cached.get(7));
    assert_eq!(newer, Ok(2));
    assert_eq!(any, Ok(2));
    assert_eq!(cached.source.calls(), 2);
    // The newer response is cached.
    assert_eq!(cached.get(1_007).await, Ok(2));
    assert_eq!(cached.source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn entry_that_is_stale_on_arrival_is_served_and_refreshed() {
    let remote = Remote::default();
    let old = counts!(Lifetime { stale_while_revalidate: s(100), ..fresh(ms(4)) });
    remote.seed(7, Ok(42), old);
    let cached = Cached::slow(remote.cache());
    assert_eq!(cached.get_together(3, 7).await, [Ok(42); 3]);
    settle().await;
    assert_eq!(cached.source.calls(), 1);
    assert_eq!(cached.get(7).await, Ok(1));
    let expected = counts!(DedupSnapshot {
        calls: 4,
        leaders: 3,
        followers: 2,
        cache_hits: 4,
        stale_hits: 3,
        refreshes: 1,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(cached.handle.snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn stored_entries_of_a_changed_resource_are_not_served() {
    for is_near in [false, true] {
        let remote = Remote::default();
        remote.with(|inside| inside.is_near = is_near);
        remote.seed(7, Ok(42), fresh(s(5)));
        remote.seed(8, Ok(43), fresh(s(5)));
        let cached =
            Cached::over(Source::at_once(), &DedupLayer::keyed(LastDigit).cache(remote.cache()));
        assert_eq!(cached.get(7).await, Ok(42));
        assert_eq!(cached.get(8).await, Ok(43));
        assert_eq!(cached.get(107).await, Ok(1));
        assert_eq!(cached.get(7).await, Ok(2));
        assert_eq!(cached.get(8).await, Ok(43));
    }
}

#[tokio::test(start_paused = true)]
async fn entry_invalidated_during_its_fetch_is_not_served() {
    for clear in [false, true] {
        let remote = Remote::default();
        let cached = Cached::slow(remote.cache());
        remote.seed(7, Ok(42), fresh(s(100)));
        let mut caller = task::spawn(cached.get(7));
        assert_pending!(caller.poll());
        // The store has read its row, and the fetch is still in progress.
        sleep(ms(3)).await;
        assert_pending!(caller.poll());
        if clear {
            cached.handle.invalidate_all();
        } else {
            cached.handle.invalidate(&7_u32);
        }
        assert_eq!(caller.await, Ok(1), "the source is called");
        assert_eq!(remote.value(7), None, "the invalidated flight is not stored");
        assert_eq!(cached.get(7).await, Ok(2));
        assert_eq!(remote.value(7), Some(Ok(2)));
    }
}

#[tokio::test(start_paused = true)]
async fn invalidate_removes_the_stored_entry_and_flights_are_not_stored() {
    let remote = Remote::default();
    let cached = Cached::slow(remote.cache());
    cached.get(7).await.unwrap();
    assert!(cached.handle.invalidate(&7_u32));
    assert_eq!(remote.value(7), None);
    assert_eq!(remote.with(|inside| inside.removes), 1);
    let mut caller = task::spawn(cached.get(7));
    assert_pending!(caller.poll());
    sleep(ms(20)).await;
    assert_pending!(caller.poll());
    cached.handle.invalidate(&7_u32);
    assert_eq!(caller.await, Ok(2));
    assert_eq!(remote.value(7), None);
    assert_eq!(remote.with(|inside| inside.puts), 1);
    assert_eq!(cached.get(7).await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn entry_invalidated_during_its_insert_is_removed_again() {
    let remote = Remote::default();
    let cached = Cached::slow(remote.cache());
    remote.with(|inside| inside.forgets = Some(cached.handle.clone()));
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(remote.value(7), None);
    assert_eq!(remote.with(|inside| inside.puts), 1);
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(remote.value(7), Some(Ok(2)));
}

#[tokio::test(start_paused = true)]
async fn hanging_store_fetch_is_dropped_with_its_callers() {
    let remote = Remote::default();
    let cached = Cached::slow(remote.cache());
    remote.with(|inside| inside.does = Trouble::AnswerHangs);
    assert!(timeout(s(1), cached.get(7)).await.is_err());
    assert_eq!(cached.source.calls(), 0);
    assert_eq!(cached.handle.in_flight(), 0);
    remote.with(|inside| inside.does = Trouble::None);
    assert_eq!(cached.get(7).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn panicking_store_fetch_rejects_all_callers() {
    let remote = Remote::default();
    let cached = Cached::slow(remote.cache());
    remote.with(|inside| inside.does = Trouble::AnswerPanics);
    for outcome in join_all((0..10).map(|_| cached.get(7))).await {
        assert_eq!(outcome, Err(TestError::Rejected(Reason::Panicked)));
    }
    assert_eq!(cached.source.calls(), 0);
    let expected = counts!(DedupSnapshot { calls: 10, leaders: 1, followers: 9, panics: 1 });
    assert_eq!(cached.handle.snapshot(), expected);
    remote.with(|inside| inside.does = Trouble::None);
    assert_eq!(cached.get(7).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn panicking_fetch_call_rejects_its_caller_and_leaves_no_flight() {
    let remote = Remote::default();
    let cached = Cached::slow(remote.cache());
    remote.with(|inside| inside.does = Trouble::GetPanics);
    let call = tower::Service::call(&mut cached.service.clone(), 7);
    assert_eq!(call.await, Err(TestError::Rejected(Reason::Panicked)));
    assert_eq!(cached.source.calls(), 0);
    assert_eq!(cached.handle.snapshot(), counts!(DedupSnapshot { calls: 1, panics: 1 }));
    remote.with(|inside| inside.does = Trouble::None);
    assert_eq!(cached.get(7).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn stale_entry_is_served_when_the_store_panics_during_a_refresh() {
    let remote = Remote::default();
    let cached = Cached::slow(remote.cache());
    remote.seed(7, Ok(70), counts!(Lifetime { stale_while_revalidate: s(100) }));
    remote.with(|inside| (inside.is_near, inside.does) = (true, Trouble::GetPanics));
    assert_eq!(cached.get(7).await, Ok(70));
    let expected = counts!(DedupSnapshot {
        calls: 1,
        cache_hits: 1,
        stale_hits: 1,
        panics: 1,
        cache_entries: 1,
        cache_bytes: cached.handle.cache_bytes()
    });
    assert_eq!(cached.handle.snapshot(), expected);
    remote.with(|inside| inside.does = Trouble::None);
    assert_eq!(cached.get(7).await, Ok(70));
    settle().await;
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(cached.source.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn callers_get_the_response_when_the_store_panics_in_insert() {
    let remote = Remote::default();
    let cached = Cached::slow(remote.cache());
    remote.with(|inside| inside.does = Trouble::PutPanics);
    for outcome in join_all((0..10).map(|_| cached.get(7))).await {
        assert_eq!(outcome, Ok(1));
    }
    let expected = counts!(DedupSnapshot { calls: 10, leaders: 1, followers: 9 });
    assert_eq!(cached.handle.snapshot(), expected);
    remote.with(|inside| inside.does = Trouble::None);
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(cached.get(7).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn stored_error_is_served_only_when_errors_are_shared() {
    let remote = Remote::default();
    remote.seed(7, Err(TestError::NotFound), fresh(s(100)));
    let layer = DedupLayer::new().cache(remote.cache()).share_errors();
    let sharing = Cached::over(Source::new(), &layer);
    let all = sharing.get_together(3, 7).await;
    assert_eq!(all, [Err(TestError::NotFound); 3]);
    assert_eq!(sharing.source.calls(), 0);
    let all = Cached::slow(remote.cache()).get_together(3, 7).await;
    assert_eq!(all, [Ok(1); 3]);
}

#[tokio::test(start_paused = true)]
async fn failure_is_stored_with_the_negative_ttl() {
    let remote = Remote::default();
    let classify = |outcome: Result<&u32, &TestError>| match outcome {
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Permanent,
    };
    let cache = remote.cache().negative_ttl(s(2)).stale_while_revalidate(s(5)).classify(classify);
    let cached = Cached::over(Source::new(), &DedupLayer::new().cache(cache).share_errors());
    cached.source.does(Does::Fail(TestError::NotFound));
    assert_eq!(cached.get(7).await, Err(TestError::NotFound));
    let lifetime = remote.with(|inside| inside.rows[&7].lifetime);
    assert_eq!(lifetime, fresh(s(2)));
    assert_eq!(cached.get(7).await, Err(TestError::NotFound));
    assert_eq!(cached.source.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn stored_entry_has_its_lifetime_cost_and_weight() {
    let remote = Remote::default();
    let cache = remote.cache().stale_while_revalidate(s(20)).stale_if_error(s(30));
    let cached = Cached::slow(cache);
    cached.get(7).await.unwrap();
    let row = remote.with(|inside| inside.rows[&7]);
    let lifetime =
        counts!(Lifetime { stale_while_revalidate: s(20), stale_if_error: s(30), ..fresh(s(10)) });
    assert_eq!(row.lifetime, lifetime);
    assert_eq!(row.took, ms(55));
    assert_eq!(row.weight, 8, "response and key");
}

#[tokio::test(start_paused = true)]
async fn local_store_answers_at_once_and_its_stale_entries_are_refreshed() {
    let remote = Remote::default();
    remote.with(|inside| inside.is_near = true);
    let cache = remote.cache().stale_while_revalidate(s(100));
    let cached = Cached::slow(cache);
    assert_eq!(cached.get(7).await, Ok(1));
    let asked = Instant::now();
    assert_eq!(cached.get(7).await, Ok(1));
    advance(s(10)).await;
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(asked.elapsed(), s(10));
    let expected = counts!(DedupSnapshot {
        calls: 3,
        leaders: 2,
        cache_hits: 2,
        stale_hits: 1,
        refreshes: 1,
        in_flight: 1,
        waiters: 1,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(cached.handle.snapshot(), expected);
    settle().await;
    assert_eq!(cached.source.calls(), 2);
    assert_eq!(cached.handle.refreshes(), 1, "the stored stale entry is not used");
    assert_eq!(cached.get(7).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn early_refresh_ignores_the_stored_entry_that_it_renews() {
    let remote = Remote::default();
    remote.with(|inside| inside.is_near = true);
    let cache = remote.cache().early_refresh(buttress_dedup::EarlyRefresh::new(1e9));
    let cached = Cached::slow(cache);
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(cached.get(7).await, Ok(1));
    settle().await;
    assert_eq!(cached.source.calls(), 2);
    assert_eq!(cached.handle.refreshes(), 1);
}

#[test]
fn remaining_lifetime_never_overflows() {
    let all = counts!(Lifetime {
        fresh: Duration::MAX,
        stale_while_revalidate: Duration::MAX,
        stale_if_error: Duration::MAX,
        age: Duration::MAX,
        is_explicit: true,
    });
    let kept = CacheEntry::new(7, all, Duration::MAX, usize::MAX);
    let left = kept.lifetime();
    assert!(left.is_explicit);
    assert!(!kept.is_expired());
    let years = s(30 * 365 * 24 * 60 * 60);
    assert_eq!(left.stale_while_revalidate, years);
    assert_eq!(left.stale_if_error, years);
    assert_eq!(kept.took(), years);
    assert!(left.age >= years && left.age < years + s(60));
    assert!(left.fresh > years.saturating_sub(s(60)) && left.fresh <= years);
    assert!(CacheEntry::new(7, Lifetime::default(), s(0), 0).is_expired());
}

#[tokio::test(start_paused = true)]
async fn hanging_store_times_out_only_the_callers_of_one_timeout() {
    for cache in [ms(1), s(5)] {
        // With three keys, two have callers that have not timed out after the first second.
        for (keys, expected) in [(1, 10), (3, 12)] {
            let remote = Remote::default();
            remote.with(|inside| inside.does = Trouble::AnswerHangs);
            let cached = Cached::slow(exactly(cache).store(remote.clone()));
            let late = cached.timed_out(600, |n| n % keys).await;
            assert_eq!(late, expected, "{keys} keys");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn recovered_store_is_preferred_to_calls_again() {
    let remote = Remote::default();
    remote.with(|inside| inside.does = Trouble::AnswerHangs);
    let cached = Cached::slow(exactly(s(5)).store(remote.clone()));
    cached.timed_out(600, |_| 7).await;
    let lifetime = Lifetime::new(s(100));
    remote.seed(90, Ok(900), lifetime);
    let (start, calls) = (Instant::now(), cached.source.calls());
    assert_eq!(cached.get(90).await, Ok(u32::try_from(calls).unwrap() + 1));
    assert_eq!(start.elapsed(), ms(60), "the store has a head start of 10 ms");
    remote.with(|inside| inside.does = Trouble::None);
    for key in [91, 92] {
        remote.seed(key, Ok(900), lifetime);
        assert_eq!(cached.get(key).await, Ok(900));
        assert_eq!(cached.source.calls(), calls + 1);
    }
}

#[test]
fn hanging_store_does_not_block_later_calls_without_timers() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let remote = Remote::default();
    remote.with(|inside| inside.does = Trouble::AnswerNeverComes);
    let cached = Cached::new(remote.cache());
    let passed = Deadline::after(Duration::ZERO);
    runtime.block_on(async {
        let mut hangs = task::spawn(Box::pin(passed.around(cached.get(7))));
        assert_pending!(hangs.poll());
        assert_eq!(cached.get(7).await, Ok(1));
    });
    assert_eq!(cached.handle.panics(), 0);
}
