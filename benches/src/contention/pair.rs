use std::{
    fs,
    future::Future,
    hint::{black_box, spin_loop},
    pin::pin,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;
use tower::Service;

/// Two threads that make calls on clones of one service, each thread one call after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    /// The time of the slower thread.
    pub(crate) took: Duration,
    /// Whether the threads did not run side by side, because one waited for a processor.
    pub(crate) was_disturbed: bool,
}

impl Pair {
    /// Makes `calls` calls in each thread.
    pub(crate) fn run<S>(runtime: &Handle, service: &S, calls: u32) -> Self
    where
        S: Service<u64, Response = u64> + Clone + Send,
    {
        let (start, waiting) = (Barrier::new(THREADS), AtomicUsize::new(THREADS));
        let threads: Vec<_> = (0..THREADS).map(|_| service.clone()).collect();
        let runs: Vec<_> = thread::scope(|scope| {
            let make_calls = |service| {
                let _entered = runtime.enter();
                start.wait();
                // The barrier wakes one thread some 50 µs later than the other, so they wait again.
                // Relaxed: the threads share no other memory through this counter.
                waiting.fetch_sub(1, Ordering::Relaxed);
                while waiting.load(Ordering::Relaxed) > 0 {
                    spin_loop();
                }
                Run::of(service, calls)
            };
            let threads: Vec<_> = threads
                .into_iter()
                .map(|service| scope.spawn(move || make_calls(service)))
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        let [one, other] = runs.as_slice() else {
            return Self { took: Duration::MAX, was_disturbed: true };
        };
        let took = one.took().max(other.took());
        let together =
            one.ended.min(other.ended).saturating_duration_since(one.began.max(other.began));
        let waited = one.waited + other.waited;
        Self { took, was_disturbed: waited > took / 20 || together < took / 10 * 9 }
    }
}

/// The calls of one thread.
#[derive(Clone, Copy, Debug)]
struct Run {
    began: Instant,
    ended: Instant,
    /// The time for which the thread waited for a processor.
    waited: Duration,
}

impl Run {
    #[expect(clippy::disallowed_methods, reason = "this measures the machine, not a layer's time")]
    fn of<S: Service<u64>>(mut service: S, calls: u32) -> Self {
        let mut cx = Context::from_waker(Waker::noop());
        let waited_before = waited_for_processor();
        let began = Instant::now();
        for _ in 0..calls {
            while service.poll_ready(&mut cx).is_pending() {}
            let mut call = pin!(service.call(black_box(7)));
            while black_box(call.as_mut()).poll(&mut cx).is_pending() {}
        }
        let ended = Instant::now();
        let waited = waited_for_processor().saturating_sub(waited_before);
        Self { began, ended, waited }
    }

    fn took(&self) -> Duration {
        self.ended.saturating_duration_since(self.began)
    }
}

/// The time for which this thread was ready to run and did not run. Zero if the system does not tell.
fn waited_for_processor() -> Duration {
    let nanos = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = nanos.and_then(|words| words.split(' ').nth(1)?.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

const THREADS: usize = 2;
