//! Outcomes that stand in for a failure: they are not cached, and the layer says when it returns one.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use buttress_core::{Deadline, Signals, Spent, Verdict};
use buttress_dedup::DedupLayer;
use buttress_testkit::TestError;
use futures_util::future::join_all;
use tokio::time::{advance, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::suite::Place;
use crate::support::{Bare, Cached, Does, Source, exactly, ms, s, settle};

type Outcome = Result<u32, TestError>;

/// The outcome of a call, and the signals of the poll that returned it.
async fn watched(call: impl Future<Output = Outcome>) -> (Outcome, Signals) {
    let mut call = pin!(call);
    poll_fn(|cx| {
        let (polled, signals) = Signals::watch(|| call.as_mut().poll(cx));
        polled.map(|outcome| (outcome, signals))
    })
    .await
}

/// Puts a layer that raises signals with each outcome over the source, while `on` is set.
fn signalling(source: &Source, on: &Arc<AtomicBool>, raise: fn()) -> Bare {
    let (inner, on) = (source.service(), Arc::clone(on));
    Bare::new(service_fn(move |key| {
        let (call, on) = (inner.clone().oneshot(key), Arc::clone(&on));
        async move {
            let outcome = call.await;
            if on.load(SeqCst) {
                raise();
            }
            outcome
        }
    }))
}

/// A source that responds after 50 ms under a layer, with signals while the flag is set.
fn over(
    layer: &DedupLayer<buttress_core::Plain, buttress_core::ByMode, buttress_dedup::Cache<Place>>,
    raise: fn(),
) -> (Cached, Arc<AtomicBool>) {
    let (source, on) = (Source::new(), Arc::new(AtomicBool::new(true)));
    let service = Bare::new(layer.layer(signalling(&source, &on, raise)));
    (Cached { source, handle: layer.handle(), service }, on)
}

#[tokio::test(start_paused = true)]
async fn degraded_outcome_is_shared_and_not_cached() {
    let layer = DedupLayer::new().cache(exactly(s(10)));
    let (cached, degraded) = over(&layer, Signals::raise_degraded);
    let together = join_all((0..3).map(|_| watched(cached.get(7)))).await;
    for (outcome, signals) in together {
        assert_eq!(outcome, Ok(1));
        assert!(signals.degraded, "each caller is told");
    }
    assert_eq!(cached.handle.cache_entries(), 0);
    degraded.store(false, SeqCst);
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(cached.handle.cache_entries(), 1);
}

#[tokio::test(start_paused = true)]
async fn degraded_failure_is_not_cached() {
    let permanent = |outcome: Result<&u32, &TestError>| match outcome {
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Permanent,
    };
    let cache = exactly(s(10)).negative_ttl(s(10)).classify(permanent);
    let layer = DedupLayer::new().cache(cache).share_errors();
    let (source, on) = (Source::at_once(), Arc::new(AtomicBool::new(true)));
    source.does(Does::Fail(TestError::NotFound));
    let service = layer.layer(signalling(&source, &on, Signals::raise_degraded));
    for calls in 1..=2 {
        service.clone().oneshot(7).await.unwrap_err();
        assert_eq!(source.calls(), calls);
    }
    on.store(false, SeqCst);
    for _ in 0..2 {
        service.clone().oneshot(7).await.unwrap_err();
        assert_eq!(source.calls(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn degraded_refresh_renews_no_entry_and_waits_for_the_backoff() {
    let layer = DedupLayer::new().cache(exactly(s(10)).stale_while_revalidate(s(100)));
    let (cached, degraded) = over(&layer, Signals::raise_degraded);
    degraded.store(false, SeqCst);
    assert_eq!(cached.get(7).await, Ok(1));
    degraded.store(true, SeqCst);
    advance(s(11)).await;
    for _ in 0..3 {
        let (outcome, signals) = watched(cached.get(7)).await;
        assert_eq!(outcome, Ok(1));
        assert!(!signals.degraded, "a stale entry that is being refreshed replaces no failure");
        settle().await;
        assert_eq!(cached.source.calls(), 2, "one refresh, and then the backoff");
    }
    degraded.store(false, SeqCst);
    advance(s(30)).await;
    cached.get(7).await.unwrap();
    settle().await;
    assert_eq!(cached.get(7).await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn hit_raises_no_signal_of_the_call_that_made_the_entry() {
    let layer = DedupLayer::new().cache(exactly(s(10)));
    let (cached, _) = over(&layer, || Signals::raise_spent(Spent::new(2, 1)));
    let (_, signals) = watched(cached.get(7)).await;
    assert_eq!(signals.spent, Spent::new(2, 1));
    let (outcome, signals) = watched(cached.get(7)).await;
    assert_eq!(outcome, Ok(1));
    assert!(signals.is_empty(), "{signals:?}");
}

fn raise_all() {
    Signals::raise_gave_up();
    Signals::raise_deadline(Deadline::after(s(1)));
    Signals::raise_spent(Spent::new(2, 0));
}

#[tokio::test(start_paused = true)]
async fn stale_entry_in_place_of_a_failure_is_degraded_and_hides_the_failures_signals() {
    let layer = DedupLayer::new().cache(exactly(s(10)).stale_if_error(s(100)));
    let (cached, _) = over(&layer, raise_all);
    cached.get(7).await.unwrap();
    advance(s(11)).await;
    cached.source.does(Does::Fail(TestError::Failed));
    let together = join_all((0..3).map(|_| watched(cached.get(7)))).await;
    let mut spent = Spent::default();
    for (outcome, signals) in together {
        assert_eq!(outcome, Ok(1));
        assert!(signals.degraded && !signals.gave_up && signals.deadline.is_none(), "{signals:?}");
        spent = spent.plus(signals.spent);
    }
    assert_eq!(spent, Spent::new(2, 0), "the calls of a flight count once");
    assert_eq!(cached.source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn stale_entry_in_place_of_a_panic_is_degraded() {
    let cached = Cached::new(exactly(s(10)).stale_if_error(s(100)));
    cached.get(7).await.unwrap();
    advance(s(11)).await;
    cached.source.does(Does::Panic);
    let (outcome, signals) = watched(cached.get(7)).await;
    assert_eq!(outcome, Ok(1));
    assert!(signals.degraded);
}

#[tokio::test(start_paused = true)]
async fn outer_cache_does_not_store_a_stale_entry_of_an_inner_cache() {
    let inner = DedupLayer::new().cache(exactly(s(10)).stale_if_error(s(100)));
    let outer = DedupLayer::new().cache(exactly(s(5)));
    let source = Source::at_once();
    let stack: Bare = Bare::new(
        ServiceBuilder::new().layer(outer.clone()).layer(inner).service(source.service()),
    );
    assert_eq!(stack.clone().oneshot(7).await, Ok(1));
    advance(s(11)).await;
    source.does(Does::Fail(TestError::Failed));
    for calls in 2..5 {
        let (outcome, signals) = watched(stack.clone().oneshot(7)).await;
        assert_eq!(outcome, Ok(1));
        assert!(signals.degraded);
        assert_eq!(source.calls(), calls);
    }
    source.does(Does::Answer);
    assert_eq!(stack.clone().oneshot(7).await, Ok(5));
    assert_eq!(stack.clone().oneshot(7).await, Ok(5));
}

/// A service under a buffer answers in another task, and its signal is lost on the way. So a layer
/// that needs the signal stands inside of such a task.
#[tokio::test(start_paused = true)]
async fn signal_of_a_spawned_call_does_not_reach_the_cache() {
    let layer = DedupLayer::new().cache(exactly(s(10)));
    let service = layer.layer(service_fn(|_: u32| async {
        tokio::spawn(async {
            sleep(ms(1)).await;
            Signals::raise_degraded();
        })
        .await
        .map(|()| 1)
        .map_err(|_| TestError::Failed)
    }));
    let mut service = service.clone();
    service.ready().await.unwrap().call(7).await.unwrap();
    assert_eq!(layer.handle().cache_entries(), 1);
}
