mod wake_queue;

use std::{
    alloc::System,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use stats_alloc::{Region, StatsAlloc};
use tower::Service;

use crate::{Source, concurrent_calls::KEY, enter_runtime, median::median};

use wake_queue::WakeQueue;

/// A flight that 10,000 followers wait for.
pub struct Flight {
    provider: String,
    measure: Box<MeasureFlight>,
}

impl Flight {
    /// Calls `layer` once a round. All callers call the service that `layer` returns.
    pub fn new<S>(provider: impl Into<String>, layer: impl Fn(Source) -> S + 'static) -> Self
    where
        S: Service<u64, Response = u64>,
    {
        let measure = move |allocator: &StatsAlloc<System>| {
            let source = Source::held();
            let mut service = layer(source.clone());
            FlightCost::of(&mut service, &source, allocator)
        };
        Self { provider: provider.into(), measure: Box::new(measure) }
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flight({})", self.provider)
    }
}

/// Prints the cost of all `flights` as a Markdown table.
pub fn print_flights(flights: &[Flight], allocator: &StatsAlloc<System>) {
    let runtime = enter_runtime();
    let _entered = runtime.enter();
    println!(
        "| layer | inner calls | ns to join | allocations | bytes | of which future | polls before the result | ns to complete | polls | wakes | allocations | |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|");
    for Flight { provider, measure } in flights {
        let mut rounds: Vec<_> = (0..ROUNDS).map(|_| measure(allocator)).collect();
        let join = median(rounds.iter().map(|cost| per_caller(cost.join)).collect());
        let complete = median(rounds.iter().map(|cost| per_caller(cost.complete)).collect());
        if let Some(cost) = rounds.pop() {
            println!("| {provider} | {} |", cost.row(join, complete));
        }
    }
    println!();
    println!(
        "Per follower, with {FOLLOWERS} followers on one key. Each call is in a box, which the bytes include and the allocations do not."
    );
    println!(
        "Polls before the result: at most {MAX_EARLY_POLLS}. Polls, wakes and the last allocations: after the result is there."
    );
}

/// Runs a flight from the first call to the last response.
type MeasureFlight = dyn Fn(&StatsAlloc<System>) -> FlightCost;

/// The cost of a flight. All counts exclude the leader.
struct FlightCost {
    inner_calls: usize,
    future: usize,
    bytes: usize,
    allocations: usize,
    join: Duration,
    early_polls: usize,
    complete: Duration,
    polls: usize,
    wakes: usize,
    completion_allocations: usize,
    waiting: usize,
    failed: usize,
}

impl FlightCost {
    #[expect(clippy::disallowed_methods, reason = "this measures the machine, not a layer's time")]
    fn of<S>(service: &mut S, source: &Source, allocator: &StatsAlloc<System>) -> Self
    where
        S: Service<u64, Response = u64>,
    {
        let woken = WakeQueue::new(FOLLOWERS + 1);
        let mut callers =
            Callers { calls: Vec::with_capacity(FOLLOWERS + 1), failed: 0, waiting: 0 };
        callers.call(service, woken.waker(0));

        let (region, began) = (Region::new(allocator), Instant::now());
        for follower in 1..=FOLLOWERS {
            callers.call(service, woken.waker(follower));
        }
        let (join, joining) = (began.elapsed(), region.change());

        let early_polls = callers.poll_woken(&woken, MAX_EARLY_POLLS * FOLLOWERS);
        let before = woken.wakes();
        source.release();
        let (region, began) = (Region::new(allocator), Instant::now());
        let polls = callers.poll_woken(&woken, MAX_LATE_POLLS * FOLLOWERS);
        let (complete, completing) = (began.elapsed(), region.change());
        Self {
            inner_calls: source.calls(),
            future: size_of::<S::Future>(),
            bytes: (joining.bytes_allocated - joining.bytes_deallocated) / FOLLOWERS,
            allocations: joining.allocations + joining.reallocations - FOLLOWERS,
            join,
            early_polls,
            complete,
            polls,
            wakes: woken.wakes() - before,
            completion_allocations: completing.allocations + completing.reallocations,
            waiting: callers.waiting,
            failed: callers.failed,
        }
    }

    fn row(&self, join: f64, complete: f64) -> String {
        let each = |count| format!("{:.2}", ratio(count));
        format!(
            "{} | {join:.0} | {} | {} | {} | {} | {complete:.0} | {} | {} | {} | {}",
            self.inner_calls,
            each(self.allocations),
            self.bytes,
            self.future,
            each(self.early_polls),
            each(self.polls),
            each(self.wakes),
            each(self.completion_allocations),
            self.remark(),
        )
    }

    fn remark(&self) -> String {
        if self.waiting > 0 {
            format!("{} never completed", self.waiting)
        } else if self.failed > 0 {
            format!("{} failed", self.failed)
        } else if self.early_polls >= MAX_EARLY_POLLS * FOLLOWERS {
            "spins".to_owned()
        } else {
            String::new()
        }
    }
}

/// The calls of the leader and all followers.
struct Callers<F> {
    calls: Vec<Option<Pin<Box<F>>>>,
    waiting: usize,
    failed: usize,
}

impl<F> Callers<F> {
    fn call<S>(&mut self, service: &mut S, waker: &Waker)
    where
        S: Service<u64, Response = u64, Future = F>,
        F: Future<Output = Result<u64, S::Error>>,
    {
        let mut cx = Context::from_waker(waker);
        while service.poll_ready(&mut cx).is_pending() {}
        self.calls.push(Some(Box::pin(service.call(KEY))));
        self.waiting += 1;
        self.poll(self.calls.len() - 1, waker);
    }

    /// Polls woken callers until none is left or `max_polls` polls were made. Returns the number of polls.
    fn poll_woken<E>(&mut self, woken: &WakeQueue, max_polls: usize) -> usize
    where
        F: Future<Output = Result<u64, E>>,
    {
        let mut polls = 0;
        while polls < max_polls
            && let Some(caller) = woken.next()
        {
            self.poll(caller, woken.waker(caller));
            polls += 1;
        }
        polls
    }

    fn poll<E>(&mut self, caller: usize, waker: &Waker)
    where
        F: Future<Output = Result<u64, E>>,
    {
        let Some(slot) = self.calls.get_mut(caller) else { return };
        let Some(future) = slot else { return };
        let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(waker)) else {
            return;
        };
        *slot = None;
        self.waiting -= 1;
        self.failed += usize::from(!outcome.is_ok_and(|response| response == KEY));
    }
}

/// Nanoseconds per follower.
fn per_caller(took: Duration) -> f64 {
    took.as_secs_f64() * 1e9 * ratio(1)
}

/// `count` per follower.
fn ratio(count: usize) -> f64 {
    let whole = |count| u32::try_from(count).map_or(f64::NAN, f64::from);
    whole(count) / whole(FOLLOWERS)
}

const FOLLOWERS: usize = 10_000;
const ROUNDS: usize = 11;
/// Polls per follower before the result is there. A layer that needs more counts as spinning.
const MAX_EARLY_POLLS: usize = 20;
/// Polls per follower once the result is there. A caller that needs more counts as never completed.
const MAX_LATE_POLLS: usize = 100;
