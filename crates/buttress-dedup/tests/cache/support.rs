//! A scripted source that counts its calls, and the fixture of the cache tests.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress_core::{Ambient, Attempt, ByMode, Deadline, Plain};
use buttress_dedup::{Cache, DedupHandle, DedupLayer, DedupSnapshot, Jitter, Ratio};
use buttress_testkit::TestError;
use futures_util::future::join_all;
use tokio::{
    task::unconstrained,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::suite::{Place, place};

/// A service that responds with the number of the call, from 1.
pub(crate) type Bare = BoxCloneSyncService<u32, u32, TestError>;

/// The source's behaviour in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Answer,
    Fail(TestError),
    Panic,
    Hang,
}

/// A call that the source received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) terms: Ambient,
    pub(crate) attempt: Attempt,
}

#[derive(Clone)]
pub(crate) struct Source {
    seen: Arc<Mutex<Vec<Seen>>>,
    does: Arc<Mutex<(Does, Duration)>>,
    live: Arc<AtomicU32>,
    most: Arc<AtomicU32>,
}

impl Source {
    /// Creates a source that responds after 50 ms.
    pub(crate) fn new() -> Self {
        let does = Arc::new(Mutex::new((Does::Answer, ms(50))));
        Self { seen: Arc::default(), does, live: Arc::default(), most: Arc::default() }
    }

    /// Creates a source that responds at once.
    pub(crate) fn at_once() -> Self {
        let source = Self::new();
        source.takes(Duration::ZERO);
        source
    }

    pub(crate) fn does(&self, does: Does) {
        self.does.lock().unwrap().0 = does;
    }

    pub(crate) fn takes(&self, time: Duration) {
        self.does.lock().unwrap().1 = time;
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns the number of calls in flight.
    pub(crate) fn live(&self) -> u32 {
        self.live.load(Ordering::SeqCst)
    }

    /// Returns the largest number of calls in flight at once.
    pub(crate) fn most(&self) -> u32 {
        self.most.load(Ordering::SeqCst)
    }

    pub(crate) fn under<L>(&self, layer: &L) -> Bare
    where
        L: Layer<Bare>,
        L::Service: Service<u32, Response = u32, Error = TestError, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        BoxCloneSyncService::new(layer.layer(self.service()))
    }

    pub(crate) fn service(&self) -> Bare {
        let source = self.clone();
        BoxCloneSyncService::new(service_fn(move |_: u32| source.clone().call()))
    }

    async fn call(self) -> Result<u32, TestError> {
        let number = {
            let mut seen = self.seen.lock().unwrap();
            let (terms, attempt) = (Ambient::current(), Attempt::current());
            seen.push(Seen { at: Instant::now(), terms, attempt });
            u32::try_from(seen.len()).unwrap()
        };
        let live = self.live.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(live, Ordering::SeqCst);
        let _live = Live(&self.live);
        let time = self.does.lock().unwrap().1;
        if !time.is_zero() {
            sleep(time).await;
        }
        let does = self.does.lock().unwrap().0;
        match does {
            Does::Answer => Ok(number),
            Does::Fail(error) => Err(error),
            Does::Panic => panic!("as told"),
            Does::Hang => std::future::pending().await,
        }
    }
}

struct Live<'a>(&'a AtomicU32);

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A source under a layer with a cache, with the handle of the layer.
#[derive(Clone)]
pub(crate) struct Cached {
    pub(crate) source: Source,
    pub(crate) handle: DedupHandle,
    pub(crate) service: Bare,
}

impl Cached {
    /// Creates a source that responds at once, under a layer with this cache.
    pub(crate) fn new<St, J>(cache: Cache<St, J>) -> Self
    where
        DedupLayer<Plain, ByMode, Cache<St, J>>: CachingLayer,
    {
        Self::over(Source::at_once(), &DedupLayer::new().cache(cache))
    }

    /// Creates a source that responds after 50 ms, under a layer with this cache.
    pub(crate) fn slow<St, J>(cache: Cache<St, J>) -> Self
    where
        DedupLayer<Plain, ByMode, Cache<St, J>>: CachingLayer,
    {
        Self::over(Source::new(), &DedupLayer::new().cache(cache))
    }

    /// Puts the source under a layer, which may have other options.
    pub(crate) fn over<L: CachingLayer>(source: Source, layer: &L) -> Self {
        let service = layer.service(&source);
        Self { source, handle: layer.handle(), service }
    }

    pub(crate) async fn get(&self, key: u32) -> Result<u32, TestError> {
        self.service.clone().oneshot(key).await
    }

    /// Calls with these keys, one after another, and expects successes.
    pub(crate) async fn load(&self, keys: impl IntoIterator<Item = u32>) {
        for key in keys {
            self.get(key).await.unwrap();
        }
    }

    /// Makes this number of concurrent calls with one key.
    pub(crate) async fn get_together(&self, calls: usize, key: u32) -> Vec<Result<u32, TestError>> {
        join_all((0..calls).map(|_| self.get(key))).await
    }

    /// Makes this number of calls, one every 100 ms, each with the key of its number and a deadline of
    /// 1 s. Returns the number of calls that did not end by their deadline.
    pub(crate) async fn timed_out(&self, calls: u32, key: impl Fn(u32) -> u32) -> usize {
        let start = Instant::now();
        let calls = (0..calls).map(|n| {
            let (at, key) = (start + n * ms(100), key(n));
            async move {
                sleep_until(at).await;
                let deadline = Deadline::after(s(1));
                let call = deadline.around(async { self.get(key).await });
                timeout_at(deadline.instant(), call).await.is_err()
            }
        });
        unconstrained(join_all(calls)).await.into_iter().filter(|late| *late).count()
    }
}

/// A layer whose service has the types of a source.
pub(crate) trait CachingLayer {
    fn service(&self, source: &Source) -> Bare;
    fn handle(&self) -> DedupHandle;
}

impl<K, C: Clone, E> CachingLayer for DedupLayer<Plain, K, C, E>
where
    Self: Layer<Bare>,
    <Self as Layer<Bare>>::Service: Service<u32, Response = u32, Error = TestError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    fn service(&self, source: &Source) -> Bare {
        source.under(self)
    }

    fn handle(&self) -> DedupHandle {
        self.handle()
    }
}

/// Returns the numbers of a layer without those of its store.
pub(crate) fn snapshot(handle: &DedupHandle) -> DedupSnapshot {
    let mut snapshot = handle.snapshot();
    (snapshot.store_hits, snapshot.store_leads) = (0, 0);
    (snapshot.store_waits, snapshot.store_alone) = (0, 0);
    (snapshot.superseded, snapshot.store_errors) = (0, 0);
    snapshot
}

/// Waits 200 ms, which is enough for the refreshes in flight.
pub(crate) async fn settle() {
    sleep(ms(200)).await;
}

/// Creates a cache without jitter: entries live for exactly `ttl`.
pub(crate) fn exactly(ttl: Duration) -> Cache<Place> {
    cache(ttl).jitter(Ratio::ZERO)
}

/// Creates a cache on the store of the suite.
pub(crate) fn cache(ttl: Duration) -> Cache<Place> {
    Cache::new(ttl).store(place())
}

/// Creates a constant backoff without jitter.
pub(crate) fn constant(delay: Duration) -> buttress_dedup::Backoff {
    buttress_dedup::Backoff::constant(delay).jitter(Jitter::None)
}

pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
