//! A rate and its queue against a naive one, step by step, with every wake needed.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

mod calls;

use std::{collections::BTreeSet, time::Duration};

use buttress_core::{BoxError, Criticality, Plain, Reason, Rejection};
use buttress_throttle::{Rate, RateLimit, ThrottleHandle, ThrottleLayer};
use proptest::prelude::*;
use tokio::{runtime::Builder, time::advance};
use tower::{Layer, service_fn};
use tower_service::Service;

use calls::{Calls, Id, Outcome};

#[derive(Clone, Debug)]
enum Step {
    Call(Criticality, u32),
    /// A caller leaves.
    Drop(usize),
    /// A cell every so many milliseconds, up to so many at once; none at all if that is 0.
    Rate(u32, u32),
    Wait(u64),
}

/// What should be so, written down as plainly as it can be said. Times are in nanoseconds.
#[derive(Debug)]
struct Model {
    now: u64,
    /// When the bucket will be full.
    full: u64,
    interval: u64,
    /// That of a rate of 0.
    closed: bool,
    burst: u32,
    bound: usize,
    /// Who, since when, and for how many cells.
    waiting: Vec<(Criticality, Id, u64, u32)>,
    served: BTreeSet<Id>,
    refused: BTreeSet<Id>,
}

impl Model {
    fn call(&mut self, id: Id, criticality: Criticality, cells: u32) {
        self.settle();
        if cells > self.burst && !self.closed {
            self.refused.insert(id);
            return;
        }
        self.waiting.push((criticality, id, self.now, cells));
        self.settle();
        if self.waiting.len() > self.bound {
            let last_of_least = self.waiting.iter().rev().min_by_key(|waiter| waiter.0);
            let id = last_of_least.unwrap().1;
            self.leave(id);
            self.refused.insert(id);
        }
        self.settle();
    }

    fn leave(&mut self, id: Id) {
        self.waiting.retain(|waiter| waiter.1 != id);
        self.settle();
    }

    fn rate(&mut self, every: u32, burst: u32) {
        self.closed = every == 0;
        if !self.closed {
            let interval = u64::from(every) * 1_000_000;
            let taken = u128::from(self.full.saturating_sub(self.now));
            let taken = (taken * u128::from(interval)).div_ceil(self.interval.into());
            let taken = u64::try_from(taken).unwrap().min(interval * u64::from(burst));
            self.full = if taken == 0 { self.full } else { self.now + taken };
            (self.interval, self.burst) = (interval, burst);
        }
        self.settle();
    }

    fn take(&mut self, at: u64, cells: u32) -> bool {
        let span = |cells: u32| self.interval * u64::from(cells);
        let fits = !self.closed && self.full.max(at) + span(cells) <= at + span(self.burst);
        if fits {
            self.full = self.full.max(at) + span(cells);
        }
        fits
    }

    /// Grants the first waiter at the earliest moment of the last millisecond at which its cells are there.
    fn settle(&mut self) {
        loop {
            let Some(most) = self.waiting.iter().map(|waiter| waiter.0).max() else { return };
            let next = self.waiting.iter().position(|waiter| waiter.0 == most).unwrap();
            let (_, id, since, cells) = *self.waiting.get(next).unwrap();
            if cells > self.burst && !self.closed {
                self.refused.insert(id);
            } else {
                let spare = self.interval * u64::from(self.burst.saturating_sub(cells));
                let due = self.full.saturating_sub(spare);
                let at = due.max(since).max(self.now.saturating_sub(1_000_000));
                if at > self.now || !self.take(at, cells) {
                    return;
                }
                self.served.insert(id);
            }
            self.waiting.remove(next);
        }
    }
}

struct Real {
    layer: ThrottleLayer<Plain, RateLimit>,
    calls: Calls<u32>,
    served: BTreeSet<Id>,
    refused: BTreeSet<Id>,
}

impl Real {
    fn new(rate: Rate, bound: usize) -> Self {
        let layer = ThrottleLayer::rate(rate).queue(bound);
        let (served, refused) = (BTreeSet::new(), BTreeSet::new());
        Self { layer, calls: Calls::default(), served, refused }
    }

    fn call(&mut self, id: Id, criticality: Criticality, cells: u32) {
        let service = service_fn(async |cells: u32| Ok::<_, BoxError>(cells));
        let mut service = self.layer.clone().cost(|cells: &u32| *cells).layer(service);
        let call = criticality.with(|| service.call(cells));
        if let Some(outcome) = self.calls.start(id, call) {
            self.end(id, outcome);
        }
    }

    fn end(&mut self, id: Id, outcome: Outcome<u32>) {
        match outcome {
            Ok(_) => self.served.insert(id),
            Err(error) => {
                let reason = Rejection::find(&error).unwrap().reason();
                assert!(matches!(reason, Reason::RateLimited | Reason::NeverAdmissible));
                self.refused.insert(id)
            }
        };
    }

    fn settle(&mut self) {
        for (id, outcome) in self.calls.settle() {
            self.end(id, outcome);
        }
    }

    fn handle(&self) -> ThrottleHandle<RateLimit> {
        self.layer.handle()
    }
}

fn rate(every: u32, burst: u32) -> Rate {
    match every {
        0 => Rate::per_second(0),
        every => Rate::new(1, Duration::from_millis(every.into())).burst(burst),
    }
}

async fn run(every: u32, burst: u32, bound: usize, steps: Vec<Step>) {
    let interval = u64::from(every) * 1_000_000;
    let (now, full, closed) = (0, 0, false);
    let (waiting, served, refused) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let mut model = Model { now, full, interval, closed, burst, bound, waiting, served, refused };
    let mut real = Real::new(rate(every, burst), bound);
    for (id, step) in steps.into_iter().enumerate() {
        match step {
            Step::Call(criticality, cells) => {
                model.call(id, criticality, cells);
                real.call(id, criticality, cells);
            }
            Step::Drop(which) => {
                if let Some(id) = real.calls.leave(which) {
                    model.leave(id);
                }
            }
            Step::Rate(every, burst) => {
                model.rate(every, burst);
                real.handle().set_rate(rate(every, burst));
            }
            Step::Wait(millis) => {
                for _ in 0..millis {
                    model.now += 1_000_000;
                    model.settle();
                    advance(Duration::from_millis(1)).await;
                }
            }
        }
        real.settle();
        assert_eq!(real.served, model.served);
        assert_eq!(real.refused, model.refused);
        assert_eq!(real.handle().queued(), model.waiting.len());
        assert_eq!(real.handle().admitted(), model.served.len() as u64);
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let criticality = prop::sample::select(&Criticality::ALL[..]);
    let call =
        (criticality, 1..4_u32).prop_map(|(criticality, cells)| Step::Call(criticality, cells));
    let drop = any::<usize>().prop_map(Step::Drop);
    let every = prop_oneof![Just(0_u32), 1..9_u32, 10..50_u32];
    let rate = (every, 1..6_u32).prop_map(|(every, burst)| Step::Rate(every, burst));
    let wait = (1..40_u64).prop_map(Step::Wait);
    let step = prop_oneof![8 => call, 3 => drop, 1 => rate, 4 => wait];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_step_leaves_the_rate_as_a_naive_one_would_be(
        every in 1..30_u32, burst in 1..6_u32, bound in 0..6_usize, steps in steps(),
    ) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(run(every, burst, bound, steps));
    }
}
