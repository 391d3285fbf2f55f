use std::fmt;

use buttress::throttle::{ThrottleLayer, Vegas};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, limit::ConcurrencyLimitLayer};

use crate::{
    ByHand, Work, Worker,
    cases::settings::{IN_FLIGHT, OURS, PERMITS, SEMAPHORE, rate, semaphore},
    contention::round::{ROUNDS, Rush, TASKS},
    median::median,
};

/// A layer over a service that many tasks on two threads call at the same time.
pub struct Crowd {
    by: String,
    rush: Box<Rushing>,
}

impl Crowd {
    /// `layer` is asked for one service, and each task calls a clone of it.
    pub fn new<S>(by: impl Into<String>, layer: impl Fn(Worker) -> S + 'static) -> Self
    where
        S: Service<u64, Response = u64, Future: Send, Error: Send> + Clone + Send + 'static,
    {
        let rush = move |runtime: &Runtime, work| {
            Rush::of(runtime, &layer(Worker::new(work)), calls(work))
        };
        Self { by: by.into(), rush: Box::new(rush) }
    }
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crowd({})", self.by)
    }
}

/// No layer, our limits, tower's, and one made of tokio's semaphore. None is ever met.
///
/// No layer comes first: it is what the others are compared with.
pub fn crowds() -> Vec<Crowd> {
    vec![
        Crowd::new("no layer", |worker| worker),
        Crowd::new(format!("concurrency, {OURS}"), |worker| {
            ThrottleLayer::concurrency(IN_FLIGHT).layer(worker)
        }),
        Crowd::new("concurrency, tower", |worker| {
            ConcurrencyLimitLayer::new(PERMITS).layer(worker)
        }),
        Crowd::new(format!("concurrency, {SEMAPHORE}"), |worker| ByHand::new(worker, semaphore())),
        Crowd::new(format!("rate, {OURS}"), |worker| ThrottleLayer::rate(rate()).layer(worker)),
        Crowd::new(format!("adaptive, {OURS}, far from the limit"), |worker| {
            let law = Vegas::default().min(1_000).initial(1_000);
            ThrottleLayer::adaptive(law).layer(worker)
        }),
        Crowd::new(format!("adaptive, {OURS}, near the limit"), |worker| {
            let law = Vegas::default().min(TASKS).initial(TASKS).max(TASKS);
            ThrottleLayer::adaptive(law).layer(worker)
        }),
    ]
}

/// Measures all crowds in turns and prints how many calls each lets through, as one Markdown table.
///
/// # Panics
///
/// If the system has no resources for a runtime.
#[expect(clippy::expect_used, reason = "without a runtime there is nothing to measure")]
pub fn print_contention(crowds: &[Crowd]) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build();
    let runtime = runtime.expect("a runtime can be built");
    let columns = [Work::Spin, Work::Nothing].map(|work| ratios(&runtime, crowds, work));
    let [spin, nothing] = columns;
    println!("| layer | throughput, half a microsecond of work | throughput, no work |");
    println!("|---|--:|--:|");
    for (crowd, (spin, nothing)) in crowds.iter().zip(spin.into_iter().zip(nothing)) {
        println!("| {} | {spin} | {nothing} |", crowd.by);
    }
    println!();
    println!("{TASKS} tasks on two threads share the layer. Medians, as ratios to no layer.");
}

/// The median ratio of each crowd's throughput to that of the first in the same round; of the first
/// one, nanoseconds per call.
fn ratios(runtime: &Runtime, crowds: &[Crowd], work: Work) -> Vec<String> {
    let mut rounds = vec![Vec::with_capacity(ROUNDS); crowds.len()];
    let mut refused = vec![0; crowds.len()];
    let mut bare = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let mut first = None;
        for ((crowd, ratios), refused) in crowds.iter().zip(&mut rounds).zip(&mut refused) {
            let rush = (crowd.rush)(runtime, work);
            let first = *first.get_or_insert(rush.took);
            ratios.push(first.as_secs_f64() / rush.took.as_secs_f64());
            *refused += rush.refused;
        }
        bare.extend(first.map(|took| took.as_secs_f64() * 1e9 / calls_in_all(work)));
    }
    let ratio = |(ratios, refused)| match refused {
        0 => format!("{:.2}", median(ratios)),
        refused => format!("refused {refused}"),
    };
    let mut texts: Vec<_> = rounds.into_iter().zip(refused).map(ratio).collect();
    if let Some(text) = texts.first_mut() {
        *text = format!("1 ({:.0} ns per call)", median(bare));
    }
    texts
}

/// Of one task in one round.
const fn calls(work: Work) -> u32 {
    match work {
        Work::Spin => 500,
        Work::Nothing => 5_000,
    }
}

fn calls_in_all(work: Work) -> f64 {
    f64::from(calls(work)) * f64::from(TASKS)
}

/// Makes one round of calls.
type Rushing = dyn Fn(&Runtime, Work) -> Rush;
