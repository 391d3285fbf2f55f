//! The scope of a cache, and the independence of hits from the inner service.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use buttress_core::{Deadline, Verdict};
use buttress_dedup::{DedupLayer, DedupSnapshot};
use buttress_testkit::{Events, TestError, counts};
use tokio_test::{assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Cached, Source, exactly, s, snapshot};

#[tokio::test(start_paused = true)]
async fn clones_and_services_of_a_layer_share_a_cache() {
    let source = Source::at_once();
    let layer = DedupLayer::new().cache(exactly(s(10)));
    let services =
        [&layer, &layer, &layer.clone()].map(|layer| Cached::over(source.clone(), layer));
    for service in services {
        assert_eq!(service.get(7).await, Ok(1));
    }
    assert_eq!(layer.handle().cache_hits(), 2);
}

#[tokio::test(start_paused = true)]
async fn cache_option_leaves_existing_entries_with_earlier_clones() {
    let layer = DedupLayer::new().cache(exactly(s(10)));
    let before = Cached::over(Source::at_once(), &layer);
    assert_eq!(before.get(7).await, Ok(1));
    let after = Cached::over(before.source.clone(), &layer.clone().cache(exactly(s(20))));
    assert_eq!(after.get(7).await, Ok(2));
    assert_eq!(before.get(7).await, Ok(1));
    assert_eq!(before.handle.cache_entries(), 1);
    assert_eq!(after.handle.cache_entries(), 1);
    assert_eq!(before.handle.cache_hits(), 1);
    assert_eq!(after.handle.cache_hits(), 0);
}

#[tokio::test(start_paused = true)]
async fn response_without_a_key_is_not_cached() {
    let cached = Cached::over(
        Source::at_once(),
        &DedupLayer::keyed(|key: &u32| (*key > 0).then_some(*key)).cache(exactly(s(10))),
    );
    assert_eq!(cached.get(0).await, Ok(1));
    assert_eq!(cached.get(0).await, Ok(2));
    assert_eq!(cached.get(1).await, Ok(3));
    assert_eq!(cached.get(1).await, Ok(3));
    let expected = counts!(DedupSnapshot {
        calls: 4,
        leaders: 1,
        bypassed: 2,
        cache_hits: 1,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(snapshot(&cached.handle), expected);
}

/// A service that is ready for one call only, and counts the polls of its readiness.
#[derive(Clone, Default)]
struct ReadyOnce {
    is_spent: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

impl Service<u32> for ReadyOnce {
    type Response = u32;
    type Error = TestError;
    type Future = std::future::Ready<Result<u32, TestError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TestError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_spent.load(Ordering::SeqCst) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, request: u32) -> Self::Future {
        self.is_spent.store(true, Ordering::SeqCst);
        std::future::ready(Ok(request))
    }
}

#[tokio::test(start_paused = true)]
async fn hit_does_not_poll_the_inner_readiness() {
    let inner = ReadyOnce::default();
    let asked = Arc::clone(&inner.asked);
    let layer = DedupLayer::new().cache(exactly(s(10)));
    let mut service = layer.layer(inner);
    assert_eq!(service.ready().await.unwrap().call(7).await.unwrap(), 7);
    for _ in 0..100 {
        let mut ready = task::spawn(());
        assert_ready_ok!(ready.enter(|cx, _| service.poll_ready(cx)));
        let mut hit = task::spawn(service.call(7));
        assert_eq!(assert_ready_ok!(hit.poll()), 7, "at the first poll");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(layer.handle().cache_hits(), 100);
}

#[tokio::test(start_paused = true)]
async fn hit_is_returned_after_the_callers_deadline() {
    let cached = Cached::new(exactly(s(10)));
    cached.get(7).await.unwrap();
    let late = Deadline::after(s(0)).around(cached.get(7)).await;
    assert_eq!(late, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn hits_and_refreshes_emit_events() {
    let cached = Cached::over(
        Source::new(),
        &DedupLayer::new().cache(exactly(s(10)).stale_while_revalidate(s(10))).named("users"),
    );
    let events = Events::of("buttress");
    cached.get(7).await.unwrap();
    assert_eq!(events.names(), [""; 0]);
    cached.get(7).await.unwrap();
    tokio::time::advance(s(10)).await;
    cached.get(7).await.unwrap();
    assert_eq!(events.names(), ["dedup.cache_hit", "dedup.cache_hit", "dedup.refresh_started"]);
    let told = |n: usize, field| events.all()[n].field(field).map(str::to_owned).unwrap();
    assert_eq!(told(0, "instance"), "users");
    assert_eq!(told(0, "stale"), "false");
    assert_eq!(told(1, "instance"), "users");
    assert_eq!(told(1, "stale"), "true");
    assert_eq!(told(2, "instance"), "users");
}

#[tokio::test(start_paused = true)]
async fn responses_of_two_types_share_a_layers_cache() {
    let layer = DedupLayer::keyed(|key: &u32| Some(*key)).cache(exactly(s(10)));
    let numbers = layer.layer(service_fn(async |key: u32| Ok::<_, TestError>(key)));
    let words = layer.layer(service_fn(async |key: u32| Ok::<_, TestError>(key.to_string())));
    for _ in 0..2 {
        assert_eq!(numbers.clone().oneshot(7).await.unwrap(), 7);
        assert_eq!(words.clone().oneshot(7).await.unwrap(), "7");
    }
    let handle = layer.handle();
    let expected = counts!(DedupSnapshot {
        calls: 4,
        leaders: 2,
        cache_hits: 2,
        cache_entries: 2,
        cache_bytes: handle.cache_bytes()
    });
    assert_eq!(snapshot(&handle), expected);
    assert!(handle.invalidate(&7_u32));
    assert_eq!(handle.cache_entries(), 0);
}

#[tokio::test(start_paused = true)]
async fn custom_classification_reads_the_request() {
    /// The outcome of an even request is a success.
    #[derive(Clone)]
    struct Even;

    impl buttress_core::Classify<u32, u32, TestError> for Even {
        type Seed = bool;

        fn seed(&self, request: &u32) -> bool {
            request.is_multiple_of(2)
        }

        fn classify(&self, seed: &bool, _: Result<&u32, &TestError>) -> Verdict {
            if *seed { Verdict::Success } else { Verdict::Transient }
        }
    }

    let cached = Cached::new(exactly(s(10)).classify(Even));
    assert_eq!(cached.get(2).await, Ok(1));
    assert_eq!(cached.get(2).await, Ok(1));
    assert_eq!(cached.get(3).await, Ok(2));
    assert_eq!(cached.get(3).await, Ok(3));
}
