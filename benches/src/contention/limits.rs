use std::fmt;

use buttress::{
    breaker::BreakerLayer,
    throttle::{ThrottleLayer, Vegas},
};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, limit::ConcurrencyLimitLayer};

use crate::{
    Acquire, Work, Worker,
    cases::settings::{BUTTRESS, IN_FLIGHT, PERMITS, SEMAPHORE, rate, semaphore},
    contention::round::{ROUNDS, Round, TASKS},
    median::median,
};

/// A limit around a service that many tasks on two threads call at the same time.
pub struct LimitContention {
    provider: String,
    run_round: Box<RunRound>,
}

impl LimitContention {
    /// Calls `layer` once a round. Each task calls a clone of the service that `layer` returns.
    pub fn new<S>(provider: impl Into<String>, layer: impl Fn(Worker) -> S + 'static) -> Self
    where
        S: Service<u64, Response = u64, Future: Send, Error: Send> + Clone + Send + 'static,
    {
        let run_round = move |runtime: &Runtime, work| {
            Round::run(runtime, &layer(Worker::new(work)), calls_per_task(work))
        };
        Self { provider: provider.into(), run_round: Box::new(run_round) }
    }
}

impl fmt::Debug for LimitContention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LimitContention({})", self.provider)
    }
}

/// No layer, the limits of buttress and tower, and a limit made of tokio's semaphore.
///
/// No call ever reaches a limit. The row without a layer comes first, because all others are compared with it.
pub fn limit_contention() -> Vec<LimitContention> {
    vec![
        LimitContention::new("no layer", |worker| worker),
        LimitContention::new(format!("concurrency, {BUTTRESS}"), |worker| {
            ThrottleLayer::concurrency(IN_FLIGHT).layer(worker)
        }),
        LimitContention::new("concurrency, tower", |worker| {
            ConcurrencyLimitLayer::new(PERMITS).layer(worker)
        }),
        LimitContention::new(format!("concurrency, {SEMAPHORE}"), |worker| {
            Acquire::new(worker, semaphore())
        }),
        LimitContention::new(format!("rate, {BUTTRESS}"), |worker| {
            ThrottleLayer::rate(rate()).layer(worker)
        }),
        LimitContention::new(format!("closed breaker, {BUTTRESS}"), |worker| {
            BreakerLayer::new().layer(worker)
        }),
        LimitContention::new(format!("adaptive, {BUTTRESS}, far from the limit"), |worker| {
            let law = Vegas::default().min(1_000).initial(1_000);
            ThrottleLayer::adaptive(law).layer(worker)
        }),
        LimitContention::new(format!("adaptive, {BUTTRESS}, near the limit"), |worker| {
            let law = Vegas::default().min(TASKS).initial(TASKS).max(TASKS);
            ThrottleLayer::adaptive(law).layer(worker)
        }),
    ]
}

/// Prints the throughput of all `limits` as a Markdown table.
///
/// In each round all limits are measured once, one after the other.
///
/// # Panics
///
/// If the system has no resources for a runtime.
#[expect(clippy::expect_used, reason = "without a runtime there is nothing to measure")]
pub fn print_limit_contention(limits: &[LimitContention]) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build();
    let runtime = runtime.expect("a runtime can be built");
    let columns = [Work::Spin, Work::Nothing].map(|work| ratios(&runtime, limits, work));
    let [spin, nothing] = columns;
    println!("| layer | throughput, half a microsecond of work | throughput, no work |");
    println!("|---|--:|--:|");
    for (limit, (spin, nothing)) in limits.iter().zip(spin.into_iter().zip(nothing)) {
        println!("| {} | {spin} | {nothing} |", limit.provider);
    }
    println!();
    println!("{TASKS} tasks on two threads share the layer. Medians of the ratio to no layer.");
}

/// The median ratio of each limit's throughput to the throughput of the first limit in the same round.
///
/// For the first limit: nanoseconds per call.
fn ratios(runtime: &Runtime, limits: &[LimitContention], work: Work) -> Vec<String> {
    let mut rounds = vec![Vec::with_capacity(ROUNDS); limits.len()];
    let mut rejected = vec![0; limits.len()];
    let mut bare = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let mut first = None;
        for ((limit, ratios), rejected) in limits.iter().zip(&mut rounds).zip(&mut rejected) {
            let round = (limit.run_round)(runtime, work);
            let first = *first.get_or_insert(round.took);
            ratios.push(first.as_secs_f64() / round.took.as_secs_f64());
            *rejected += round.rejected;
        }
        bare.extend(first.map(|took| took.as_secs_f64() * 1e9 / calls_per_round(work)));
    }
    let ratio = |(ratios, rejected)| match rejected {
        0 => format!("{:.2}", median(ratios)),
        rejected => format!("rejected {rejected}"),
    };
    let mut texts: Vec<_> = rounds.into_iter().zip(rejected).map(ratio).collect();
    if let Some(text) = texts.first_mut() {
        *text = format!("1 ({:.0} ns per call)", median(bare));
    }
    texts
}

/// Calls of a task in a round.
const fn calls_per_task(work: Work) -> u32 {
    match work {
        Work::Spin | Work::SpinOnly | Work::PendThenSpin => 500,
        Work::Nothing => 5_000,
    }
}

fn calls_per_round(work: Work) -> f64 {
    f64::from(calls_per_task(work)) * f64::from(TASKS)
}

/// Runs a round of calls.
type RunRound = dyn Fn(&Runtime, Work) -> Round;
