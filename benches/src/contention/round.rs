use std::{
    future::poll_fn,
    hint::black_box,
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, task::JoinSet, time::timeout};
use tower::Service;

/// What one round of all tasks was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rush {
    pub(crate) took: Duration,
    /// Refused, or never answered.
    pub(crate) refused: u32,
}

impl Rush {
    #[expect(clippy::disallowed_methods, reason = "this measures the machine, not a layer's time")]
    pub(crate) fn of<S>(runtime: &Runtime, service: &S, calls: u32) -> Self
    where
        S: Service<u64, Response = u64, Future: Send, Error: Send> + Clone + Send + 'static,
    {
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            tasks.spawn_on(call_often(service.clone(), calls), runtime.handle());
        }
        // What leaves a caller waiting for ever is left after a while.
        let refused = runtime.block_on(async { timeout(PATIENCE, tasks.join_all()).await });
        let refused = refused.map_or(TASKS * calls, |refused| refused.into_iter().sum());
        Self { took: began.elapsed(), refused }
    }
}

/// Makes so many calls, and says how many were refused.
async fn call_often<S: Service<u64>>(mut service: S, calls: u32) -> u32 {
    let mut refused = 0;
    for _ in 0..calls {
        let ready = poll_fn(|cx| service.poll_ready(cx)).await;
        if ready.is_err() || service.call(black_box(7)).await.is_err() {
            refused += 1;
        }
    }
    refused
}

pub(crate) const TASKS: u32 = 128;
pub(crate) const ROUNDS: usize = 31;
const PATIENCE: Duration = Duration::from_secs(10);
