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

use wake_queue::Ring;

/// One call that ten thousand others wait for.
pub struct Flight {
    by: String,
    fly: Box<Flying>,
}

impl Flight {
    /// `layer` is asked for one service, which all callers call.
    pub fn new<S>(by: impl Into<String>, layer: impl Fn(Source) -> S + 'static) -> Self
    where
        S: Service<u64, Response = u64>,
    {
        let fly = move |allocator: &StatsAlloc<System>| {
            let source = Source::held();
            let mut service = layer(source.clone());
            Flown::of(&mut service, &source, allocator)
        };
        Self { by: by.into(), fly: Box::new(fly) }
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flight({})", self.by)
    }
}

/// Measures all flights and prints them as one Markdown table.
pub fn print_flights(flights: &[Flight], allocator: &StatsAlloc<System>) {
    let runtime = enter_runtime();
    let _entered = runtime.enter();
    println!(
        "| layer | loads | ns to join | allocations | bytes | of these its future | polls in vain | ns to land | polls | wakes | allocations | |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|");
    for Flight { by, fly } in flights {
        let mut rounds: Vec<_> = (0..ROUNDS).map(|_| fly(allocator)).collect();
        let join = median(rounds.iter().map(|flown| per_caller(flown.join)).collect());
        let land = median(rounds.iter().map(|flown| per_caller(flown.land)).collect());
        if let Some(flown) = rounds.pop() {
            println!("| {by} | {} |", flown.row(join, land));
        }
    }
    println!();
    println!(
        "Per caller, of {CALLERS} on one key, each in a box, which its bytes count and its allocations do not."
    );
    println!(
        "In vain: before the answer is there, up to {IN_VAIN}. Polls and wakes: once it is there."
    );
}

/// Lets callers join and land.
type Flying = dyn Fn(&StatsAlloc<System>) -> Flown;

/// What one flight was. Counts are of all callers but the first.
struct Flown {
    loads: usize,
    future: usize,
    bytes: usize,
    allocations: usize,
    join: Duration,
    in_vain: usize,
    land: Duration,
    polls: usize,
    wakes: usize,
    land_allocations: usize,
    waiting: usize,
    failed: usize,
}

impl Flown {
    #[expect(clippy::disallowed_methods, reason = "this measures the machine, not a layer's time")]
    fn of<S>(service: &mut S, source: &Source, allocator: &StatsAlloc<System>) -> Self
    where
        S: Service<u64, Response = u64>,
    {
        let ring = Ring::new(CALLERS + 1);
        let mut hall = Hall { calls: Vec::with_capacity(CALLERS + 1), failed: 0, waiting: 0 };
        hall.enter(service, ring.waker(0));

        let (region, began) = (Region::new(allocator), Instant::now());
        for caller in 1..=CALLERS {
            hall.enter(service, ring.waker(caller));
        }
        let (join, joining) = (began.elapsed(), region.change());

        let in_vain = hall.serve(&ring, IN_VAIN * CALLERS);
        let before = ring.wakes();
        source.answer();
        let (region, began) = (Region::new(allocator), Instant::now());
        let polls = hall.serve(&ring, PATIENCE * CALLERS);
        let (land, landing) = (began.elapsed(), region.change());
        Self {
            loads: source.loads(),
            future: size_of::<S::Future>(),
            bytes: (joining.bytes_allocated - joining.bytes_deallocated) / CALLERS,
            allocations: joining.allocations + joining.reallocations - CALLERS,
            join,
            in_vain,
            land,
            polls,
            wakes: ring.wakes() - before,
            land_allocations: landing.allocations + landing.reallocations,
            waiting: hall.waiting,
            failed: hall.failed,
        }
    }

    fn row(&self, join: f64, land: f64) -> String {
        let each = |count| format!("{:.2}", ratio(count));
        format!(
            "{} | {join:.0} | {} | {} | {} | {} | {land:.0} | {} | {} | {} | {}",
            self.loads,
            each(self.allocations),
            self.bytes,
            self.future,
            each(self.in_vain),
            each(self.polls),
            each(self.wakes),
            each(self.land_allocations),
            self.remark(),
        )
    }

    fn remark(&self) -> String {
        if self.waiting > 0 {
            format!("{} never answered", self.waiting)
        } else if self.failed > 0 {
            format!("{} failed", self.failed)
        } else if self.in_vain >= IN_VAIN * CALLERS {
            "spins".to_owned()
        } else {
            String::new()
        }
    }
}

/// Where all callers wait.
struct Hall<F> {
    calls: Vec<Option<Pin<Box<F>>>>,
    waiting: usize,
    failed: usize,
}

impl<F> Hall<F> {
    fn enter<S>(&mut self, service: &mut S, waker: &Waker)
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

    /// Polls whom `ring` names, until it names nobody or there were so many polls. Returns their
    /// number.
    fn serve<E>(&mut self, ring: &Ring, most: usize) -> usize
    where
        F: Future<Output = Result<u64, E>>,
    {
        let mut polls = 0;
        while polls < most
            && let Some(caller) = ring.next()
        {
            self.poll(caller, ring.waker(caller));
            polls += 1;
        }
        polls
    }

    fn poll<E>(&mut self, caller: usize, waker: &Waker)
    where
        F: Future<Output = Result<u64, E>>,
    {
        let Some(seat) = self.calls.get_mut(caller) else { return };
        let Some(future) = seat else { return };
        let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(waker)) else {
            return;
        };
        *seat = None;
        self.waiting -= 1;
        self.failed += usize::from(!outcome.is_ok_and(|response| response == KEY));
    }
}

fn per_caller(took: Duration) -> f64 {
    took.as_secs_f64() * 1e9 * ratio(1)
}

/// So many, for each caller.
fn ratio(count: usize) -> f64 {
    let whole = |count| u32::try_from(count).map_or(f64::NAN, f64::from);
    whole(count) / whole(CALLERS)
}

const CALLERS: usize = 10_000;
const ROUNDS: usize = 11;
/// Polls of each caller before there is an answer, after which it counts as spinning.
const IN_VAIN: usize = 20;
/// Polls of each caller once there is an answer, after which nobody waits for it any more.
const PATIENCE: usize = 100;
