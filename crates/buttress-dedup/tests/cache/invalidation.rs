//! Invalidation of entries and of flights.

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use buttress_dedup::{Cache, DedupHandle, DedupLayer, DedupSnapshot};
use buttress_testkit::{TestError, counts};
use tokio::time::{advance, sleep};
use tokio_test::{assert_pending, assert_ready_eq, task};
use tower::{Layer, Service, ServiceExt};

use crate::suite::Place;
use crate::support::{Bare, Cached, Does, Source, constant, exactly, ms, s, settle, snapshot};

#[tokio::test(start_paused = true)]
async fn invalidated_key_is_loaded_again() {
    let cached = Cached::new(exactly(s(10)));
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(cached.get(8).await, Ok(2));
    assert!(cached.handle.invalidate(&7_u32));
    assert_eq!(cached.handle.cache_entries(), 1);
    assert_eq!(cached.get(7).await, Ok(3));
    assert_eq!(cached.get(8).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn invalidate_all_removes_every_entry() {
    let cached = Cached::new(exactly(s(10)));
    cached.load(0..100).await;
    cached.handle.invalidate_all();
    assert_eq!(snapshot(&cached.handle), counts!(DedupSnapshot { calls: 100, leaders: 100 }));
    assert_eq!(cached.get(0).await, Ok(101));
    assert_eq!(cached.get(0).await, Ok(101));
}

#[tokio::test(start_paused = true)]
async fn invalidate_of_a_missing_key_changes_nothing() {
    let cached = Cached::new(exactly(s(10)));
    assert!(!cached.handle.invalidate(&7_u32), "no call so far has had such a key");
    cached.handle.invalidate_all();
    cached.get(7).await.unwrap();
    assert!(cached.handle.invalidate(&8_u32));
    assert!(
        !cached.handle.invalidate(&7_u64)
            && !cached.handle.invalidate(&"7")
            && !cached.handle.invalidate(&7_i32)
    );
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(cached.handle.cache_entries(), 1);
}

#[tokio::test(start_paused = true)]
async fn invalidated_flight_answers_its_waiters_and_is_not_cached() {
    let cached = Cached::slow(exactly(s(10)));
    for forget in [0, 1] {
        let before = u32::try_from(cached.source.calls()).unwrap();
        let mut waiting = [0; 3].map(|_| task::spawn(cached.get(7)));
        for waiting in &mut waiting {
            assert_pending!(waiting.poll());
        }
        sleep(ms(20)).await;
        if forget == 0 {
            assert!(cached.handle.invalidate(&7_u32));
        } else {
            cached.handle.invalidate_all();
        }
        assert_eq!(cached.handle.in_flight(), 0, "no call joins the flight any more");
        let mut next = task::spawn(cached.get(7));
        assert_pending!(next.poll());
        sleep(ms(31)).await;
        for waiting in &mut waiting {
            assert_ready_eq!(waiting.poll(), Ok(before + 1));
        }
        assert_eq!(cached.handle.cache_entries(), 0);
        assert_eq!(next.await, Ok(before + 2));
        assert_eq!(cached.get(7).await, Ok(before + 2));
        assert_eq!(cached.handle.cache_entries(), 1);
        cached.handle.invalidate_all();
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invalidated_flight_that_ends_late_does_not_replace_the_newer_entry() {
    let cached = Cached::slow(exactly(s(100)));
    cached.source.takes(s(5));
    let mut slow = task::spawn(cached.get(7));
    assert_pending!(slow.poll());
    cached.handle.invalidate(&7_u32);
    cached.source.takes(ms(50));
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(slow.await, Ok(1));
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(cached.handle.cache_entries(), 1);
}

#[tokio::test(start_paused = true)]
async fn ended_flight_is_invalidated_before_its_followers_read_it() {
    let cached = Cached::slow(exactly(s(10)));
    let mut loader = task::spawn(cached.get(7));
    let mut other = task::spawn(cached.get(7));
    assert_pending!(loader.poll());
    assert_pending!(other.poll());
    sleep(ms(51)).await;
    assert_ready_eq!(loader.poll(), Ok(1));
    assert_eq!(cached.handle.cache_entries(), 1, "the flight has ended");
    cached.handle.invalidate(&7_u32);
    assert_ready_eq!(other.poll(), Ok(1));
    assert_eq!(cached.get(7).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn invalidated_refresh_is_not_cached() {
    let cached = Cached::new(exactly(s(10)).stale_while_revalidate(s(20)));
    cached.get(7).await.unwrap();
    cached.source.takes(ms(50));
    advance(s(10)).await;
    assert_eq!(cached.get(7).await, Ok(1));
    sleep(ms(20)).await;
    cached.handle.invalidate(&7_u32);
    settle().await;
    assert_eq!(cached.source.calls(), 2);
    let expected =
        counts!(DedupSnapshot { calls: 2, leaders: 2, cache_hits: 1, stale_hits: 1, refreshes: 1 });
    assert_eq!(snapshot(&cached.handle), expected);
    assert_eq!(cached.get(7).await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn failed_refresh_does_not_restore_an_invalidated_entry() {
    for (does, clear) in [
        (Does::Fail(TestError::Failed), false),
        (Does::Panic, false),
        (Does::Hang, false),
        (Does::Hang, true),
    ] {
        let cache = exactly(s(10)).stale_while_revalidate(s(1_000)).refresh_timeout(s(5));
        let cached = Cached::new(cache);
        cached.get(7).await.unwrap();
        cached.source.does(does);
        cached.source.takes(ms(50));
        advance(s(10)).await;
        assert_eq!(cached.get(7).await, Ok(1));
        sleep(ms(20)).await;
        if clear {
            cached.handle.invalidate_all();
        } else {
            cached.handle.invalidate(&7_u32);
        }
        sleep(s(6)).await;
        assert_eq!(cached.source.live(), 0, "{does:?}");
        assert_eq!(cached.handle.cache_entries(), 0, "{does:?}");
        cached.source.does(Does::Answer);
        assert_eq!(cached.get(7).await, Ok(3), "{does:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failed_refresh_does_not_replace_a_newer_entry() {
    let cache = exactly(s(100)).stale_while_revalidate(s(1_000)).refresh_timeout(s(5));
    let cached = Cached::new(cache.refresh_backoff(constant(s(1))));
    cached.get(7).await.unwrap();
    cached.source.does(Does::Hang);
    advance(s(100)).await;
    assert_eq!(cached.get(7).await, Ok(1));
    sleep(s(1)).await;
    cached.handle.invalidate_all();
    cached.source.does(Does::Answer);
    assert_eq!(cached.get(7).await, Ok(3));
    sleep(s(10)).await;
    assert_eq!(cached.get(7).await, Ok(3));
    assert_eq!(cached.source.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn invalidated_entry_does_not_replace_a_failure() {
    let cached = Cached::new(exactly(s(10)).stale_if_error(s(1_000)));
    cached.get(7).await.unwrap();
    cached.source.does(Does::Fail(TestError::Failed));
    cached.source.takes(ms(50));
    advance(s(10)).await;
    assert_eq!(cached.get(7).await, Ok(1));
    let mut before = task::spawn(cached.get(7));
    assert_pending!(before.poll());
    cached.handle.invalidate(&7_u32);
    assert_eq!(cached.get(7).await, Err(TestError::Failed));
    assert_eq!(before.await, Ok(1), "an earlier waiter still gets the entry");
}

#[tokio::test(start_paused = true)]
async fn response_loaded_after_an_invalidation_is_cached() {
    let cached = Cached::slow(exactly(s(10)));
    for value in 1..=5 {
        cached.handle.invalidate(&7_u32);
        assert_eq!(cached.get(7).await, Ok(value));
        assert_eq!(cached.get(7).await, Ok(value));
    }
}

/// A service that runs a closure when it is cloned. A layer clones the service after the lookup and
/// before the start of a flight.
struct Cloning {
    inner: Bare,
    when_cloned: Arc<Mutex<Option<Then>>>,
}

type Then = Box<dyn FnOnce() + Send>;

impl Clone for Cloning {
    fn clone(&self) -> Self {
        let then = self.when_cloned.lock().unwrap().take();
        if let Some(then) = then {
            then();
        }
        Self { inner: self.inner.clone(), when_cloned: Arc::clone(&self.when_cloned) }
    }
}

impl Service<u32> for Cloning {
    type Response = u32;
    type Error = TestError;
    type Future = <Bare as Service<u32>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TestError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: u32) -> Self::Future {
        self.inner.call(request)
    }
}

/// Calls with a key whose entry has expired, and runs `forget` between lookup and start. Returns the
/// outcome of the call, and the handle.
async fn forgotten_in_between(
    cache: Cache<Place>,
    source: &Source,
    forget: fn(&DedupHandle),
) -> (Result<u32, TestError>, DedupHandle) {
    let layer = DedupLayer::new().cache(cache);
    let handle = layer.handle();
    let when_cloned: Arc<Mutex<Option<Then>>> = Arc::default();
    let inner = Cloning { inner: source.service(), when_cloned: Arc::clone(&when_cloned) };
    let mut service = layer.layer(inner);
    service.ready().await.unwrap().call(7).await.unwrap();
    advance(s(10)).await;
    source.does(Does::Fail(TestError::Failed));
    let forgets = handle.clone();
    *when_cloned.lock().unwrap() = Some(Box::new(move || forget(&forgets)));
    let outcome = service.call(7).await;
    assert!(when_cloned.lock().unwrap().is_none(), "the closure ran");
    settle().await;
    (outcome, handle)
}

const WAYS: [fn(&DedupHandle); 2] =
    [|handle| assert!(handle.invalidate(&7_u32)), DedupHandle::invalidate_all];

#[tokio::test(start_paused = true)]
async fn entry_invalidated_between_lookup_and_start_does_not_replace_a_failure() {
    for forget in WAYS {
        let source = Source::at_once();
        let cache = exactly(s(10)).stale_if_error(s(1_000));
        let (outcome, handle) = forgotten_in_between(cache, &source, forget).await;
        assert_eq!(outcome, Err(TestError::Failed));
        assert_eq!(source.calls(), 2);
        assert_eq!(snapshot(&handle), counts!(DedupSnapshot { calls: 2, leaders: 2 }));
    }
}

#[tokio::test(start_paused = true)]
async fn entry_invalidated_between_lookup_and_start_is_not_refreshed() {
    for forget in WAYS {
        let source = Source::at_once();
        let cache = exactly(s(10)).stale_while_revalidate(s(1_000)).stale_if_error(s(1_000));
        let (outcome, handle) = forgotten_in_between(cache, &source, forget).await;
        assert_eq!(outcome, Ok(1));
        assert_eq!(source.calls(), 1, "an earlier call still gets the entry");
        let expected =
            counts!(DedupSnapshot { calls: 2, leaders: 1, cache_hits: 1, stale_hits: 1 });
        assert_eq!(snapshot(&handle), expected);
    }
}
