use std::fmt;

use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinSet, yield_now},
};
use tower::Service;

use crate::{
    Source,
    contention::round::{ROUNDS, Round, TASKS},
    median::median,
};

/// A coalescer or cache that many tasks on two threads call with the same key.
pub struct DedupContention {
    provider: String,
    run_round: Box<RunRound>,
}

impl DedupContention {
    /// Measures coalescing: calls join the flight of another call. A task of its own completes the inner
    /// calls whenever the runtime polls that task.
    ///
    /// Calls `layer` once a round. Each task calls a clone of the service that `layer` returns.
    pub(crate) fn coalescing<S>(
        provider: impl Into<String>,
        layer: impl Fn(Source) -> S + 'static,
    ) -> Self
    where
        S: Service<u64, Response = u64, Future: Send, Error: Send> + Clone + Send + 'static,
    {
        Self::new(provider, Source::held, layer)
    }

    /// Measures a cache: all calls but the first are cache hits.
    ///
    /// Calls `layer` once a round. Each task calls a clone of the service that `layer` returns.
    pub(crate) fn caching<S>(
        provider: impl Into<String>,
        layer: impl Fn(Source) -> S + 'static,
    ) -> Self
    where
        S: Service<u64, Response = u64, Future: Send, Error: Send> + Clone + Send + 'static,
    {
        Self::new(provider, Source::counted, layer)
    }

    fn new<S>(
        provider: impl Into<String>,
        source: fn() -> Source,
        layer: impl Fn(Source) -> S + 'static,
    ) -> Self
    where
        S: Service<u64, Response = u64, Future: Send, Error: Send> + Clone + Send + 'static,
    {
        let run_round = move |runtime: &Runtime| {
            let source = source();
            let mut releaser = JoinSet::new();
            if source.is_held() {
                releaser.spawn_on(release_forever(source.clone()), runtime.handle());
            }
            (Round::run(runtime, &layer(source.clone()), CALLS), source.calls())
        };
        Self { provider: provider.into(), run_round: Box::new(run_round) }
    }
}

impl fmt::Debug for DedupContention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DedupContention({})", self.provider)
    }
}

/// Prints the time per call of all `layers` as a Markdown table.
///
/// In each round all layers are measured once, one after the other.
///
/// # Panics
///
/// If the system has no resources for a runtime.
#[expect(clippy::expect_used, reason = "without a runtime there is nothing to measure")]
pub fn print_dedup_contention(title: &str, layers: &[DedupContention]) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build();
    let runtime = runtime.expect("a runtime can be built");
    let mut rows: Vec<_> = layers.iter().map(|layer| (layer, RoundStats::default())).collect();
    for _ in 0..ROUNDS {
        let mut first = None;
        // A layer that rejected a call, or left a caller waiting, takes part in no further round.
        for (layer, stats) in rows.iter_mut().filter(|(_, stats)| stats.rejected == 0) {
            let (round, inner_calls) = (layer.run_round)(&runtime);
            stats.add(round, *first.get_or_insert(round), inner_calls);
        }
    }
    println!("| {title} | ns per call | time | calls per inner call |");
    println!("|---|--:|--:|--:|");
    for (layer, stats) in rows {
        println!("| {} | {} |", layer.provider, stats.row());
    }
    println!();
    println!("{TASKS} tasks on two threads make {CALLS} calls each, all with one key.");
    println!("Medians. The time is the ratio to the first row.\n");
}

/// Completes the waiting inner calls each time the other tasks have run.
async fn release_forever(source: Source) {
    loop {
        yield_now().await;
        source.release();
    }
}

/// The measurements of a layer in all rounds.
#[derive(Default)]
struct RoundStats {
    nanos: Vec<f64>,
    ratios: Vec<f64>,
    calls_per_inner_call: Vec<f64>,
    rejected: u32,
}

impl RoundStats {
    fn add(&mut self, round: Round, first: Round, inner_calls: usize) {
        let (calls, took) = (f64::from(TASKS * CALLS), round.took.as_secs_f64());
        self.nanos.push(took * 1e9 / calls);
        self.ratios.push(took / first.took.as_secs_f64());
        let inner_calls = u32::try_from(inner_calls).map_or(f64::NAN, f64::from);
        self.calls_per_inner_call.push(calls / inner_calls);
        self.rejected += round.rejected;
    }

    fn row(self) -> String {
        let nanos = median(self.nanos);
        let (time, per_inner_call) = (median(self.ratios), median(self.calls_per_inner_call));
        match self.rejected {
            0 => format!("{nanos:.0} | {time:.2} × | {per_inner_call:.0}"),
            rejected => format!("{nanos:.0} | {rejected} rejected or never completed | –"),
        }
    }
}

/// Runs a round of calls. Also returns the number of inner calls.
type RunRound = dyn Fn(&Runtime) -> (Round, usize);

/// Calls of a task in a round.
const CALLS: u32 = 1_000;
