//! What is forgotten, and when.

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use buttress_dedup::{Cache, DedupHandle, DedupLayer};
use buttress_testkit::TestError;
use tokio::time::{advance, sleep};
use tokio_test::{assert_pending, assert_ready_eq, task};
use tower::{Layer, Service, ServiceExt};

use crate::support::{Bare, Does, Source, constant, exactly, get, ms, s, settle};

#[tokio::test(start_paused = true)]
async fn invalidated_key_is_loaded_again() {
    let source = Source::at_once();
    let layer = DedupLayer::new().cache(exactly(s(10)));
    let handle = layer.handle();
    let service = source.under(&layer);
    assert_eq!((get(&service, 7).await, get(&service, 8).await), (Ok(1), Ok(2)));
    assert!(handle.invalidate(&7_u32));
    assert_eq!(handle.cache_entries(), 1);
    assert_eq!((get(&service, 7).await, get(&service, 8).await), (Ok(3), Ok(2)));
}

#[tokio::test(start_paused = true)]
async fn invalidate_all_removes_every_entry() {
    let source = Source::at_once();
    let layer = DedupLayer::new().cache(exactly(s(10)));
    let handle = layer.handle();
    let service = source.under(&layer);
    for key in 0..100 {
        get(&service, key).await.unwrap();
    }
    handle.invalidate_all();
    assert_eq!((handle.cache_entries(), handle.cache_bytes()), (0, 0));
    assert_eq!(get(&service, 0).await, Ok(101));
    assert_eq!(get(&service, 0).await, Ok(101));
}

#[tokio::test(start_paused = true)]
async fn invalidate_of_a_missing_key_changes_nothing() {
    let source = Source::at_once();
    let layer = DedupLayer::new().cache(exactly(s(10)));
    let handle = layer.handle();
    let service = source.under(&layer);
    assert!(!handle.invalidate(&7_u32), "no call so far has had such a key");
    handle.invalidate_all();
    get(&service, 7).await.unwrap();
    assert!(handle.invalidate(&8_u32));
    assert!(!handle.invalidate(&7_u64) && !handle.invalidate(&"7") && !handle.invalidate(&7_i32));
    assert_eq!((get(&service, 7).await, handle.cache_entries()), (Ok(1), 1));
}

#[tokio::test(start_paused = true)]
async fn invalidated_flight_answers_its_waiters_and_is_not_cached() {
    let source = Source::new();
    let layer = DedupLayer::new().cache(exactly(s(10)));
    let handle = layer.handle();
    let service = source.under(&layer);
    for forget in [0, 1] {
        let before = u32::try_from(source.calls()).unwrap();
        let mut waiting = [0; 3].map(|_| task::spawn(get(&service, 7)));
        for waiting in &mut waiting {
            assert_pending!(waiting.poll());
        }
        sleep(ms(20)).await;
        if forget == 0 {
            assert!(handle.invalidate(&7_u32));
        } else {
            handle.invalidate_all();
        }
        assert_eq!(handle.in_flight(), 0, "nobody joins it any more");
        let mut next = task::spawn(get(&service, 7));
        assert_pending!(next.poll());
        sleep(ms(31)).await;
        for waiting in &mut waiting {
            assert_ready_eq!(waiting.poll(), Ok(before + 1));
        }
        assert_eq!(handle.cache_entries(), 0);
        assert_eq!((next.await, get(&service, 7).await), (Ok(before + 2), Ok(before + 2)));
        assert_eq!(handle.cache_entries(), 1);
        handle.invalidate_all();
    }
}

#[tokio::test(start_paused = true)]
async fn invalidated_flight_that_ends_late_does_not_replace_the_newer_entry() {
    let source = Source::new();
    source.takes(s(5));
    let layer = DedupLayer::new().cache(exactly(s(100)));
    let handle = layer.handle();
    let service = source.under(&layer);
    let mut slow = task::spawn(get(&service, 7));
    assert_pending!(slow.poll());
    handle.invalidate(&7_u32);
    source.takes(ms(50));
    assert_eq!(get(&service, 7).await, Ok(2));
    assert_eq!(slow.await, Ok(1));
    assert_eq!((get(&service, 7).await, handle.cache_entries()), (Ok(2), 1));
}

#[tokio::test(start_paused = true)]
async fn ended_flight_is_invalidated_before_its_followers_read_it() {
    let source = Source::new();
    let layer = DedupLayer::new().cache(exactly(s(10)));
    let handle = layer.handle();
    let service = source.under(&layer);
    let mut loader = task::spawn(get(&service, 7));
    let mut other = task::spawn(get(&service, 7));
    assert_pending!(loader.poll());
    assert_pending!(other.poll());
    sleep(ms(51)).await;
    assert_ready_eq!(loader.poll(), Ok(1));
    assert_eq!(handle.cache_entries(), 1, "it has landed");
    handle.invalidate(&7_u32);
    assert_ready_eq!(other.poll(), Ok(1));
    assert_eq!(get(&service, 7).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn invalidated_refresh_is_not_cached() {
    let source = Source::at_once();
    let layer = DedupLayer::new().cache(exactly(s(10)).stale_while_revalidate(s(20)));
    let handle = layer.handle();
    let service = source.under(&layer);
    get(&service, 7).await.unwrap();
    source.takes(ms(50));
    advance(s(10)).await;
    assert_eq!(get(&service, 7).await, Ok(1));
    sleep(ms(20)).await;
    handle.invalidate(&7_u32);
    settle().await;
    assert_eq!((source.calls(), handle.cache_entries(), handle.in_flight()), (2, 0, 0));
    assert_eq!(get(&service, 7).await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn failed_refresh_does_not_restore_an_invalidated_entry() {
    for (does, clear) in [
        (Does::Fail(TestError::Failed), false),
        (Does::Panic, false),
        (Does::Hang, false),
        (Does::Hang, true),
    ] {
        let source = Source::at_once();
        let keep = exactly(s(10)).stale_while_revalidate(s(1_000)).refresh_timeout(s(5));
        let layer = DedupLayer::new().cache(keep);
        let handle = layer.handle();
        let service = source.under(&layer);
        get(&service, 7).await.unwrap();
        source.does(does);
        source.takes(ms(50));
        advance(s(10)).await;
        assert_eq!(get(&service, 7).await, Ok(1));
        sleep(ms(20)).await;
        if clear {
            handle.invalidate_all();
        } else {
            handle.invalidate(&7_u32);
        }
        sleep(s(6)).await;
        assert_eq!((source.live(), handle.cache_entries()), (0, 0), "{does:?}");
        source.does(Does::Answer);
        assert_eq!(get(&service, 7).await, Ok(3), "{does:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failed_refresh_does_not_replace_a_newer_entry() {
    let source = Source::at_once();
    let keep = exactly(s(100)).stale_while_revalidate(s(1_000)).refresh_timeout(s(5));
    let layer = DedupLayer::new().cache(keep.refresh_backoff(constant(s(1))));
    let handle = layer.handle();
    let service = source.under(&layer);
    get(&service, 7).await.unwrap();
    source.does(Does::Hang);
    advance(s(100)).await;
    assert_eq!(get(&service, 7).await, Ok(1));
    sleep(s(1)).await;
    handle.invalidate_all();
    source.does(Does::Answer);
    assert_eq!(get(&service, 7).await, Ok(3));
    sleep(s(10)).await;
    assert_eq!((get(&service, 7).await, source.live()), (Ok(3), 0));
}

#[tokio::test(start_paused = true)]
async fn invalidated_entry_does_not_replace_a_failure() {
    let source = Source::at_once();
    let layer = DedupLayer::new().cache(exactly(s(10)).stale_if_error(s(1_000)));
    let handle = layer.handle();
    let service = source.under(&layer);
    get(&service, 7).await.unwrap();
    source.does(Does::Fail(TestError::Failed));
    source.takes(ms(50));
    advance(s(10)).await;
    assert_eq!(get(&service, 7).await, Ok(1));
    let mut before = task::spawn(get(&service, 7));
    assert_pending!(before.poll());
    handle.invalidate(&7_u32);
    assert_eq!(get(&service, 7).await, Err(TestError::Failed));
    assert_eq!(before.await, Ok(1), "who waited before still gets it");
}

#[tokio::test(start_paused = true)]
async fn response_loaded_after_an_invalidation_is_cached() {
    let source = Source::new();
    let layer = DedupLayer::new().cache(exactly(s(10)));
    let handle = layer.handle();
    let service = source.under(&layer);
    for value in 1..=5 {
        handle.invalidate(&7_u32);
        assert_eq!((get(&service, 7).await, get(&service, 7).await), (Ok(value), Ok(value)));
    }
}

/// A service that does something when it is cloned, which a layer does after it has looked for what is
/// kept, and before it starts a call.
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

/// A key whose answer is ten seconds old, and over. The call that looks for it has it forgotten by
/// `forget` between its look and its start: what the caller gets.
async fn forgotten_in_between(
    keep: Cache,
    source: &Source,
    forget: fn(&DedupHandle),
) -> (Result<u32, TestError>, DedupHandle) {
    let layer = DedupLayer::new().cache(keep);
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
    assert!(when_cloned.lock().unwrap().is_none(), "it was forgotten");
    settle().await;
    (outcome, handle)
}

const WAYS: [fn(&DedupHandle); 2] =
    [|handle| assert!(handle.invalidate(&7_u32)), DedupHandle::invalidate_all];

#[tokio::test(start_paused = true)]
async fn entry_invalidated_between_lookup_and_start_does_not_replace_a_failure() {
    for forget in WAYS {
        let source = Source::at_once();
        let keep = exactly(s(10)).stale_if_error(s(1_000));
        let (outcome, handle) = forgotten_in_between(keep, &source, forget).await;
        assert_eq!((outcome, source.calls()), (Err(TestError::Failed), 2));
        assert_eq!((handle.cache_hits(), handle.cache_entries()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn entry_invalidated_between_lookup_and_start_is_not_refreshed() {
    for forget in WAYS {
        let source = Source::at_once();
        let keep = exactly(s(10)).stale_while_revalidate(s(1_000)).stale_if_error(s(1_000));
        let (outcome, handle) = forgotten_in_between(keep, &source, forget).await;
        assert_eq!((outcome, source.calls()), (Ok(1), 1), "who began before still gets it");
        assert_eq!((handle.refreshes(), handle.in_flight(), handle.cache_entries()), (0, 0, 0));
    }
}
