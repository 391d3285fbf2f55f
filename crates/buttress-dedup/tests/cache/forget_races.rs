//! Invalidation on real threads: a call after an invalidation never sees an older value.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use buttress_dedup::{Cache, DedupHandle, DedupLayer};
use buttress_testkit::TestError;
use futures_util::future::BoxFuture;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::support::s;

type Shared = BoxCloneSyncService<u32, u32, TestError>;

/// A value that changes, and a service that reads the value.
#[derive(Clone, Default)]
struct Truth {
    now: Arc<AtomicU32>,
    /// The value at the last invalidation.
    forgotten: Arc<AtomicU32>,
    reads: Arc<AtomicU32>,
    /// Calls that have ended.
    ended: Arc<AtomicU32>,
    is_over: Arc<AtomicBool>,
}

impl Truth {
    /// One in `failing` calls fails.
    fn service(&self, failing: u32) -> Shared {
        let truth = self.clone();
        let read = move |_: u32| -> BoxFuture<'static, Result<u32, TestError>> {
            let truth = truth.clone();
            Box::pin(async move {
                let value = truth.now.load(Ordering::SeqCst);
                let reads = truth.reads.fetch_add(1, Ordering::SeqCst);
                if reads.is_multiple_of(3) {
                    tokio::task::yield_now().await;
                }
                if reads.is_multiple_of(5) {
                    thread::yield_now();
                }
                if reads % failing == failing - 1 { Err(TestError::Failed) } else { Ok(value) }
            })
        };
        Shared::new(service_fn(read))
    }

    /// Changes the value this number of times, and invalidates the key after each change.
    fn change(&self, times: u32, handle: &DedupHandle) {
        for value in 1..=times {
            self.now.store(value, Ordering::SeqCst);
            if value % 16 == 0 {
                handle.invalidate_all();
            } else {
                handle.invalidate(&7_u32);
            }
            self.forgotten.store(value, Ordering::SeqCst);
            if value % (times / WAITS) == 1 {
                self.wait();
            }
        }
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Waits for the readers. Otherwise all changes would be over before a reader has started.
    fn wait(&self) {
        let enough = self.ended.load(Ordering::SeqCst) + 4;
        while self.ended.load(Ordering::SeqCst) < enough && !self.is_over.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    }

    /// Reads through `service` until the changes are over. Returns the number of values.
    fn read(&self, service: &Shared) -> u32 {
        // Ends the test for the other threads too if this one panics.
        let _over = Over(&self.is_over);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut values = 0;
            while !self.is_over.load(Ordering::SeqCst) {
                let least = self.forgotten.load(Ordering::SeqCst);
                let outcome = service.clone().oneshot(7).await;
                self.ended.fetch_add(1, Ordering::SeqCst);
                if let Ok(value) = outcome {
                    assert!(value >= least, "{value} was invalidated at {least}");
                    values += 1;
                }
            }
            values
        })
    }
}

/// Tells all threads on drop that the test is over.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn hammer(cache: Cache, failing: u32, times: u32) -> DedupHandle {
    let truth = Truth::default();
    let layer = DedupLayer::new().cache(cache);
    let handle = layer.handle();
    let service = Shared::new(layer.layer(truth.service(failing)));
    thread::scope(|scope| {
        let readers = [0; 3].map(|_| scope.spawn(|| truth.read(&service)));
        truth.change(times, &handle);
        let values: u32 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(values > 0);
    });
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(handle.waiters(), 0);
    handle
}

#[test]
fn calls_after_an_invalidation_see_no_older_value() {
    let handle = hammer(Cache::new(s(1_000)), u32::MAX, 100_000);
    assert!(handle.cache_hits() > 0 && handle.leaders() > 0);
}

#[test]
fn calls_after_an_invalidation_see_no_older_value_in_place_of_a_failure() {
    let handle = hammer(Cache::new(Duration::ZERO).stale_if_error(s(1_000)), 4, 20_000);
    assert!(handle.stale_hits() > 0, "some failures are replaced");
}

#[test]
fn calls_after_an_invalidation_see_no_older_value_during_a_refresh() {
    let cache =
        Cache::new(Duration::ZERO).stale_while_revalidate(s(1_000)).stale_if_error(s(1_000));
    let cache = cache.refresh_backoff(buttress_dedup::Backoff::none());
    let handle = hammer(cache, 4, 20_000);
    assert!(handle.refreshes() > 0);
}

#[test]
fn concurrent_threads_load_each_entry_once() {
    let layer = DedupLayer::new().cache(Cache::new(s(1_000)).max_entries(100_000));
    let loads = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&loads);
    let service = Shared::new(layer.layer(service_fn(move |key: u32| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok::<_, TestError>(key))
    })));
    let keys = 20_000;
    // The threads stay level, so that all of them call with a key at about the same time.
    let abreast = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                loop {
                    let key = abreast.load(Ordering::SeqCst);
                    if key == keys {
                        break;
                    }
                    assert_eq!(runtime.block_on(service.clone().oneshot(key)), Ok(key));
                    abreast.fetch_max(key + 1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(loads.load(Ordering::SeqCst), keys);
}

/// If the machine is busy, each wait may cost a time slice.
const WAITS: u32 = 200;
