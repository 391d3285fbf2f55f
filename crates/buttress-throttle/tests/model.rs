//! The concurrency limit and its queue against a naive one, step by step, with every wake needed.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

mod calls;

use std::{cell::RefCell, collections::BTreeSet, rc::Rc, task::Poll};

use buttress_core::{BoxError, Criticality};
use buttress_throttle::{ConcurrencyLimit, ThrottleHandle, ThrottleLayer};
use proptest::prelude::*;
use tower::{Layer, service_fn};
use tower_service::Service;

use calls::{Calls, Id, Outcome};

#[derive(Clone, Debug)]
enum Step {
    Call(Criticality),
    /// The service answers one of the calls it runs.
    End(usize),
    /// A caller leaves.
    Drop(usize),
    Limit(u32),
}

/// What should be so, written down as plainly as it can be said.
#[derive(Debug, Default)]
struct Model {
    limit: u32,
    bound: usize,
    running: BTreeSet<Id>,
    waiting: Vec<(Criticality, Id)>,
    refused: BTreeSet<Id>,
}

impl Model {
    fn call(&mut self, id: Id, criticality: Criticality) {
        self.waiting.push((criticality, id));
        self.settle();
        if self.waiting.len() > self.bound {
            let last_of_least =
                self.waiting.iter().rev().min_by_key(|(criticality, _)| *criticality);
            let id = last_of_least.unwrap().1;
            self.waiting.retain(|(_, waiting)| *waiting != id);
            self.refused.insert(id);
        }
    }

    fn leave(&mut self, id: Id) {
        self.running.remove(&id);
        self.refused.remove(&id);
        self.waiting.retain(|(_, waiting)| *waiting != id);
        self.settle();
    }

    fn settle(&mut self) {
        while self.running.len() < self.limit as usize && !self.waiting.is_empty() {
            let most = self.waiting.iter().map(|(criticality, _)| *criticality).max();
            let next = self.waiting.iter().position(|(c, _)| Some(*c) == most).unwrap();
            self.running.insert(self.waiting.remove(next).1);
        }
    }
}

/// The layer over a service that runs each call until the test ends the call.
struct Real {
    layer: ThrottleLayer,
    running: Rc<RefCell<BTreeSet<Id>>>,
    ended: Rc<RefCell<BTreeSet<Id>>>,
    calls: Calls<()>,
    refused: BTreeSet<Id>,
}

impl Real {
    fn new(limit: u32, bound: usize) -> Self {
        let layer = ThrottleLayer::concurrency(limit).queue(bound);
        let (running, ended) = (Rc::default(), Rc::default());
        Self { layer, running, ended, calls: Calls::default(), refused: BTreeSet::new() }
    }

    fn call(&mut self, id: Id, criticality: Criticality) {
        let (running, ended) = (Rc::clone(&self.running), Rc::clone(&self.ended));
        let mut service = self.layer.layer(service_fn(move |id: Id| {
            running.borrow_mut().insert(id);
            let guard = Leaving(id, Rc::clone(&running));
            let ended = Rc::clone(&ended);
            std::future::poll_fn(move |_| {
                let _ = &guard;
                let over = ended.borrow().contains(&id);
                if over { Poll::Ready(Ok::<_, BoxError>(())) } else { Poll::Pending }
            })
        }));
        let call = criticality.with(|| service.call(id));
        if let Some(outcome) = self.calls.start(id, call) {
            self.refuse(id, &outcome);
        }
    }

    fn end(&mut self, id: Id) {
        self.ended.borrow_mut().insert(id);
        assert!(matches!(self.calls.poll(id), Some(Ok(()))));
    }

    fn settle(&mut self) {
        for (id, outcome) in self.calls.settle() {
            self.refuse(id, &outcome);
        }
    }

    fn refuse(&mut self, id: Id, outcome: &Outcome<()>) {
        assert!(outcome.is_err(), "no call ends before it is told to");
        self.refused.insert(id);
    }

    fn handle(&self) -> ThrottleHandle<ConcurrencyLimit> {
        self.layer.handle()
    }
}

struct Leaving(Id, Rc<RefCell<BTreeSet<Id>>>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.1.borrow_mut().remove(&self.0);
    }
}

fn run(limit: u32, bound: usize, steps: Vec<Step>) {
    let mut model = Model { limit, bound, ..Model::default() };
    let mut real = Real::new(limit, bound);
    for (id, step) in steps.into_iter().enumerate() {
        match step {
            Step::Call(criticality) => {
                model.call(id, criticality);
                real.call(id, criticality);
            }
            Step::End(which) => {
                let among: Vec<_> = model.running.iter().copied().collect();
                if let Some(id) = among.get(which % among.len().max(1)) {
                    model.leave(*id);
                    real.end(*id);
                }
            }
            Step::Drop(which) => {
                if let Some(id) = real.calls.leave(which) {
                    model.leave(id);
                }
            }
            Step::Limit(limit) => {
                model.limit = limit;
                model.settle();
                real.handle().set_limit(limit);
            }
        }
        real.settle();
        assert_eq!(*real.running.borrow(), model.running);
        assert_eq!(real.refused, model.refused);
        assert_eq!(real.handle().in_flight() as usize, model.running.len());
        assert_eq!(real.handle().queued(), model.waiting.len());
    }
    drop(std::mem::take(&mut real.calls));
    assert_eq!(real.handle().in_flight(), 0);
    assert_eq!(real.handle().queued(), 0);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let call = prop::sample::select(&Criticality::ALL[..]).prop_map(Step::Call);
    let end = any::<usize>().prop_map(Step::End);
    let drop = any::<usize>().prop_map(Step::Drop);
    let limit = (0..5_u32).prop_map(Step::Limit);
    let step = prop_oneof![8 => call, 5 => end, 3 => drop, 1 => limit];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_step_leaves_the_limit_as_a_naive_one_would_be(
        limit in 0..4_u32, bound in 0..6_usize, steps in steps(),
    ) {
        run(limit, bound, steps);
    }
}
