use std::{
    fmt,
    time::{Duration, Instant},
};

use buttress::{deadline::DeadlineLayer, retry::RetryLayer, throttle::ThrottleLayer};
use tokio::runtime::{Builder, Handle};
use tower::{Layer, Service, limit::ConcurrencyLimitLayer, retry, timeout::TimeoutLayer};

use crate::{
    Work, Worker,
    cases::settings::{ATTEMPT, ATTEMPTS, BudgetPolicy, IN_FLIGHT, PERMITS, TIMEOUT},
    contention::pair::Pair,
    median::median,
};

/// Layers around a service that two threads call at the same time, each thread one call after the other.
pub struct StackContention {
    name: &'static str,
    run_pair: Box<RunPair>,
}

impl StackContention {
    /// Calls `layer` once per measurement. Each thread calls a clone of the service that `layer` returns.
    pub fn new<S>(name: &'static str, layer: impl Fn(Worker) -> S + 'static) -> Self
    where
        S: Service<u64, Response = u64> + Clone + Send + 'static,
    {
        let run_pair =
            move |runtime: &Handle, work| Pair::run(runtime, &layer(Worker::new(work)), CALLS);
        Self { name, run_pair: Box::new(run_pair) }
    }
}

impl StackContention {
    /// Measures until the threads run side by side, or until `give_up`.
    #[expect(clippy::disallowed_methods, reason = "this measures the machine, not a layer's time")]
    fn undisturbed(&self, runtime: &Handle, work: Work, give_up: Instant) -> Option<Duration> {
        while Instant::now() < give_up {
            let pair = (self.run_pair)(runtime, work);
            if !pair.was_disturbed {
                return Some(pair.took);
            }
        }
        None
    }
}

impl fmt::Debug for StackContention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StackContention({})", self.name)
    }
}

/// No layer, and the layers of buttress and tower. No call reaches a limit or a deadline.
pub fn stack_contention() -> Vec<StackContention> {
    vec![
        StackContention::new("no layer", |worker| worker),
        StackContention::new("deadline, buttress", |worker| {
            DeadlineLayer::new(TIMEOUT).layer(worker)
        }),
        StackContention::new("deadline, tower", |worker| TimeoutLayer::new(TIMEOUT).layer(worker)),
        StackContention::new("retry + budget, buttress", |worker| {
            RetryLayer::new(ATTEMPTS).layer(worker)
        }),
        StackContention::new("retry + budget, tower", |worker| {
            retry::RetryLayer::new(BudgetPolicy::new()).layer(worker)
        }),
        StackContention::new("concurrency, buttress", |worker| {
            ThrottleLayer::concurrency(IN_FLIGHT).layer(worker)
        }),
        StackContention::new("concurrency, tower", |worker| {
            ConcurrencyLimitLayer::new(PERMITS).layer(worker)
        }),
        StackContention::new("deadline → retry → throttle → deadline, buttress", |worker| {
            let attempt = DeadlineLayer::new(ATTEMPT).layer(worker);
            let limit = ThrottleLayer::concurrency(IN_FLIGHT).queue(64).layer(attempt);
            let retry = RetryLayer::new(ATTEMPTS).layer(limit);
            DeadlineLayer::new(TIMEOUT).layer(retry)
        }),
        StackContention::new("deadline → retry → throttle → deadline, tower", |worker| {
            let attempt = TimeoutLayer::new(ATTEMPT).layer(worker);
            let limit = ConcurrencyLimitLayer::new(PERMITS).layer(attempt);
            let retry = retry::RetryLayer::new(BudgetPolicy::new()).layer(limit);
            TimeoutLayer::new(TIMEOUT).layer(retry)
        }),
    ]
}

/// Prints the throughput of two threads on each of `stacks` as a Markdown table.
///
/// # Panics
///
/// If the system has no resources for a runtime.
#[expect(clippy::expect_used, reason = "without a runtime there is nothing to measure")]
pub fn print_stack_contention(stacks: &[StackContention]) {
    // The calls are not tasks of this runtime, which provides the timers only.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let runtime = runtime.expect("a runtime can be built");
    let ready = ratios(runtime.handle(), stacks, Work::SpinOnly);
    let pend = ratios(runtime.handle(), stacks, Work::PendThenSpin);
    println!("| layers | throughput, ready | throughput, pend |");
    println!("|---|--:|--:|");
    for (stack, (ready, pend)) in stacks.iter().zip(ready.into_iter().zip(pend)) {
        println!("| {} | {ready} | {pend} |", stack.name);
    }
    println!();
    println!("Two threads share the layers. Each makes one call after the other, with half a");
    println!("microsecond of work. Medians of the ratio to no layer, measured immediately before.");
    println!(
        "A measurement counts if no thread waited for a processor meanwhile. If the machine was"
    );
    println!("too busy for {PAIRS} of them, their number is in parentheses.\n");
}

/// The median ratio of the throughput of each of `stacks` to the throughput of the first.
///
/// For the first: nanoseconds per call.
#[expect(clippy::disallowed_methods, reason = "this measures the machine, not a layer's time")]
fn ratios(runtime: &Handle, stacks: &[StackContention], work: Work) -> Vec<String> {
    let Some((bare, layered)) = stacks.split_first() else { return Vec::new() };
    let mut rows = vec![Vec::with_capacity(PAIRS); layered.len()];
    let mut bare_nanos = Vec::with_capacity(PAIRS * layered.len());
    let began = Instant::now();
    for _ in 0..PAIRS {
        for (stack, ratios) in layered.iter().zip(&mut rows) {
            let none = bare.undisturbed(runtime, work, began + TIME_LIMIT);
            let own = stack.undisturbed(runtime, work, began + TIME_LIMIT);
            if let (Some(none), Some(own)) = (none, own) {
                ratios.push(none.as_secs_f64() / own.as_secs_f64());
                bare_nanos.push(none.as_secs_f64() * 1e9 / f64::from(CALLS));
            }
        }
    }
    let bare = format!("1 ({:.0} ns per call)", median(bare_nanos));
    let layered = rows.into_iter().map(|ratios| match ratios.len() {
        0 => "–".to_owned(),
        PAIRS => format!("{:.2}", median(ratios)),
        few => format!("{:.2} ({few})", median(ratios)),
    });
    [bare].into_iter().chain(layered).collect()
}

/// Runs a pair of threads.
type RunPair = dyn Fn(&Handle, Work) -> Pair;

/// Calls of a thread. They take less than a millisecond, so most pairs end before the scheduler interrupts one.
const CALLS: u32 = 500;
/// Measurements of each row, if the machine is quiet enough.
const PAIRS: usize = 51;
/// The time for one column of the table.
const TIME_LIMIT: Duration = Duration::from_secs(90);
