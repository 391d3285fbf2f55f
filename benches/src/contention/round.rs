use std::{
    future::poll_fn,
    hint::black_box,
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, task::JoinSet, time::timeout};
use tower::Service;

/// One round: each of [`TASKS`] tasks makes its calls, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) took: Duration,
    /// Calls that were rejected or did not return.
    pub(crate) rejected: u32,
}

impl Round {
    /// Runs a round. Each task makes `calls` calls on a clone of `service`.
    #[expect(clippy::disallowed_methods, reason = "this measures the machine, not a layer's time")]
    pub(crate) fn run<S>(runtime: &Runtime, service: &S, calls: u32) -> Self
    where
        S: Service<u64, Response = u64, Future: Send, Error: Send> + Clone + Send + 'static,
    {
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            tasks.spawn_on(make_calls(service.clone(), calls), runtime.handle());
        }
        // Some layers leave a caller waiting forever. The round then ends after `TIME_LIMIT`.
        let rejected = runtime.block_on(async { timeout(TIME_LIMIT, tasks.join_all()).await });
        let rejected = rejected.map_or(TASKS * calls, |rejected| rejected.into_iter().sum());
        Self { took: began.elapsed(), rejected }
    }
}

/// Makes `calls` calls and returns the number of calls that were rejected.
async fn make_calls<S: Service<u64>>(mut service: S, calls: u32) -> u32 {
    let mut rejected = 0;
    for _ in 0..calls {
        let ready = poll_fn(|cx| service.poll_ready(cx)).await;
        if ready.is_err() || service.call(black_box(7)).await.is_err() {
            rejected += 1;
        }
    }
    rejected
}

pub(crate) const TASKS: u32 = 128;
pub(crate) const ROUNDS: usize = 31;
const TIME_LIMIT: Duration = Duration::from_secs(10);
