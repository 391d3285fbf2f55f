use std::fmt;

use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinSet, yield_now},
};
use tower::Service;

use crate::{
    Source,
    contention::round::{ROUNDS, Rush, TASKS},
    median::median,
};

/// A layer that shares answers, and many tasks on two threads that ask for the same one.
pub struct Gathering {
    by: String,
    rush: Box<Rushing>,
}

impl Gathering {
    /// All join the calls of others: a load is answered when a task of its own gets its turn.
    ///
    /// `layer` is asked for one service, and each task calls a clone of it.
    pub(crate) fn joining<S>(by: impl Into<String>, layer: impl Fn(Source) -> S + 'static) -> Self
    where
        S: Service<u64, Response = u64, Future: Send, Error: Send> + Clone + Send + 'static,
    {
        Self::new(by, Source::held, layer)
    }

    /// All but the first find what is kept.
    ///
    /// `layer` is asked for one service, and each task calls a clone of it.
    pub(crate) fn hitting<S>(by: impl Into<String>, layer: impl Fn(Source) -> S + 'static) -> Self
    where
        S: Service<u64, Response = u64, Future: Send, Error: Send> + Clone + Send + 'static,
    {
        Self::new(by, Source::counted, layer)
    }

    fn new<S>(
        by: impl Into<String>,
        source: fn() -> Source,
        layer: impl Fn(Source) -> S + 'static,
    ) -> Self
    where
        S: Service<u64, Response = u64, Future: Send, Error: Send> + Clone + Send + 'static,
    {
        let rush = move |runtime: &Runtime| {
            let source = source();
            let mut origin = JoinSet::new();
            if source.is_held() {
                origin.spawn_on(answer_for_ever(source.clone()), runtime.handle());
            }
            (Rush::of(runtime, &layer(source.clone()), CALLS), source.loads())
        };
        Self { by: by.into(), rush: Box::new(rush) }
    }
}

impl fmt::Debug for Gathering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gathering({})", self.by)
    }
}

/// Measures all gatherings in turns and prints what a call takes, as one Markdown table.
///
/// # Panics
///
/// If the system has no resources for a runtime.
#[expect(clippy::expect_used, reason = "without a runtime there is nothing to measure")]
pub fn print_gatherings(title: &str, gatherings: &[Gathering]) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build();
    let runtime = runtime.expect("a runtime can be built");
    let mut tallies: Vec<_> = gatherings.iter().map(|who| (who, Tally::default())).collect();
    for _ in 0..ROUNDS {
        let mut first = None;
        // Who left callers waiting once is not asked again.
        for (who, tally) in tallies.iter_mut().filter(|(_, tally)| tally.refused == 0) {
            let (rush, loads) = (who.rush)(&runtime);
            tally.add(rush, *first.get_or_insert(rush), loads);
        }
    }
    println!("| {title} | ns per call | time | calls per load |");
    println!("|---|--:|--:|--:|");
    for (who, tally) in tallies {
        println!("| {} | {} |", who.by, tally.row());
    }
    println!();
    println!("{TASKS} tasks on two threads ask for one key, {CALLS} times each. Medians; time as");
    println!("a ratio to the first row.\n");
}

/// Answers what waits whenever the other tasks have had their turn.
async fn answer_for_ever(source: Source) {
    loop {
        yield_now().await;
        source.answer();
    }
}

/// What one layer did in all rounds.
#[derive(Default)]
struct Tally {
    nanos: Vec<f64>,
    ratios: Vec<f64>,
    calls_per_load: Vec<f64>,
    refused: u32,
}

impl Tally {
    fn add(&mut self, rush: Rush, first: Rush, loads: usize) {
        let (calls, took) = (f64::from(TASKS * CALLS), rush.took.as_secs_f64());
        self.nanos.push(took * 1e9 / calls);
        self.ratios.push(took / first.took.as_secs_f64());
        self.calls_per_load.push(calls / u32::try_from(loads).map_or(f64::NAN, f64::from));
        self.refused += rush.refused;
    }

    fn row(self) -> String {
        let nanos = median(self.nanos);
        let (time, per_load) = (median(self.ratios), median(self.calls_per_load));
        match self.refused {
            0 => format!("{nanos:.0} | {time:.2} × | {per_load:.0}"),
            refused => format!("{nanos:.0} | {refused} refused, or never answered | –"),
        }
    }
}

/// Makes one round of calls, and says how many loads there were.
type Rushing = dyn Fn(&Runtime) -> (Rush, usize);

/// Of one task in one round.
const CALLS: u32 = 1_000;
