//! The lanes against a naive list, step by step, with every wake needed.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

// The same calls as in the model of a queue.
#[path = "../../buttress-throttle/tests/calls/mod.rs"]
mod calls;

use std::{cell::RefCell, collections::BTreeSet, rc::Rc, task::Poll};

use buttress_core::{BoxError, Reason, Rejection};
use buttress_order::{OrderHandle, OrderLayer};
use proptest::prelude::*;
use tower::{Layer, service_fn};
use tower_service::Service;

use calls::{Calls, Id, Outcome};

#[derive(Clone, Debug)]
enum Step {
    /// A call of one of two keys.
    Call(u8),
    /// The service answers one of the calls it runs.
    End(usize),
    /// A caller leaves.
    Drop(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Serial { queue: usize },
    Latest,
    Overlapping,
}

/// What should be so: the first call of a list runs, and the others wait.
#[derive(Debug, Default)]
struct Model {
    calls: Vec<Id>,
    full: BTreeSet<Id>,
    superseded: BTreeSet<Id>,
}

impl Model {
    fn call(&mut self, id: Id, policy: Policy) {
        match policy {
            Policy::Serial { queue } if self.calls.len() > queue => drop(self.full.insert(id)),
            Policy::Serial { .. } => self.calls.push(id),
            // All superseded calls are polled at once here, so the newest runs in any case.
            Policy::Latest | Policy::Overlapping => {
                self.superseded.extend(self.calls.drain(..));
                self.calls.push(id);
            }
        }
    }

    fn leave_all(models: &mut [Self], id: Id) {
        for model in models {
            model.calls.retain(|call| *call != id);
        }
    }
}

/// The layer over a service that runs each call until the test ends the call.
struct Real {
    layer: Box<dyn Fn(Work) -> CallOf>,
    handle: OrderHandle<u8>,
    work: Work,
    calls: Calls<()>,
    full: BTreeSet<Id>,
    superseded: BTreeSet<Id>,
}

type CallOf = Box<dyn FnOnce((u8, Id)) -> Running>;
type Running = std::pin::Pin<Box<dyn Future<Output = Outcome<()>>>>;

#[derive(Clone, Default)]
struct Work {
    running: Rc<RefCell<BTreeSet<Id>>>,
    ended: Rc<RefCell<BTreeSet<Id>>>,
}

impl Work {
    fn serve(&self, id: Id) -> impl Future<Output = Outcome<()>> + use<> {
        self.running.borrow_mut().insert(id);
        let (guard, ended) = (Leaving(id, Rc::clone(&self.running)), Rc::clone(&self.ended));
        std::future::poll_fn(move |_| {
            let _ = &guard;
            let over = ended.borrow().contains(&id);
            if over { Poll::Ready(Ok::<_, BoxError>(())) } else { Poll::Pending }
        })
    }
}

struct Leaving(Id, Rc<RefCell<BTreeSet<Id>>>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.1.borrow_mut().remove(&self.0);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a key")]
fn key_of(request: &(u8, Id)) -> Option<u8> {
    Some(request.0)
}

impl Real {
    fn new(policy: Policy) -> Self {
        macro_rules! over {
            ($layer:expr) => {{
                let layer = $layer;
                let handle = layer.handle();
                let make = move |work: Work| -> CallOf {
                    let mut service =
                        layer.layer(service_fn(move |(_, id): (u8, Id)| work.serve(id)));
                    Box::new(move |request| Box::pin(service.call(request)))
                };
                (Box::new(make) as Box<dyn Fn(Work) -> CallOf>, handle)
            }};
        }
        let (layer, handle) = match policy {
            Policy::Serial { queue } => over!(OrderLayer::serial(key_of).queue(queue)),
            Policy::Latest => over!(OrderLayer::latest(key_of)),
            Policy::Overlapping => over!(OrderLayer::latest(key_of).overlapping()),
        };
        let (work, calls) = (Work::default(), Calls::default());
        Self { layer, handle, work, calls, full: BTreeSet::new(), superseded: BTreeSet::new() }
    }

    fn call(&mut self, id: Id, key: u8) {
        let call = (self.layer)(self.work.clone())((key, id));
        if let Some(outcome) = self.calls.start(id, call) {
            self.note(id, outcome);
        }
        self.settle();
    }

    fn settle(&mut self) {
        for (id, outcome) in self.calls.settle() {
            self.note(id, outcome);
        }
    }

    fn note(&mut self, id: Id, outcome: Outcome<()>) {
        let error = outcome.unwrap_err();
        match Rejection::find(&error).map(Rejection::reason) {
            Some(Reason::Overloaded) => self.full.insert(id),
            Some(Reason::Superseded) => self.superseded.insert(id),
            _ => unreachable!("no call ends otherwise before it is told to: {error}"),
        };
    }
}

fn run(policy: Policy, steps: Vec<Step>) {
    let mut models = [Model::default(), Model::default()];
    let mut real = Real::new(policy);
    for (id, step) in steps.into_iter().enumerate() {
        match step {
            Step::Call(key) => {
                models.get_mut(usize::from(key)).unwrap().call(id, policy);
                real.call(id, key);
            }
            Step::End(which) => {
                let among: Vec<_> = models.iter().filter_map(|model| model.calls.first()).collect();
                if let Some(id) = among.get(which % among.len().max(1)).map(|id| **id) {
                    Model::leave_all(&mut models, id);
                    real.work.ended.borrow_mut().insert(id);
                    assert!(matches!(real.calls.poll(id), Some(Ok(()))));
                }
            }
            Step::Drop(which) => {
                if let Some(id) = real.calls.leave(which) {
                    Model::leave_all(&mut models, id);
                }
            }
        }
        real.settle();
        let running: BTreeSet<_> = models.iter().filter_map(|m| m.calls.first().copied()).collect();
        assert_eq!(*real.work.running.borrow(), running);
        let all = |of: fn(&Model) -> &BTreeSet<Id>| -> BTreeSet<Id> {
            models.iter().flat_map(|model| of(model).iter().copied()).collect()
        };
        assert_eq!(real.full, all(|model| &model.full));
        assert_eq!(real.superseded, all(|model| &model.superseded));
        for (key, model) in (0..).zip(&models) {
            assert_eq!(real.handle.waiting(&key), model.calls.len().saturating_sub(1));
        }
        assert_eq!(real.handle.keys(), running.len());
    }
    drop(std::mem::take(&mut real.calls));
    assert_eq!(real.handle.keys(), 0);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let call = (0..2_u8).prop_map(Step::Call);
    let end = any::<usize>().prop_map(Step::End);
    let drop = any::<usize>().prop_map(Step::Drop);
    prop::collection::vec(prop_oneof![6 => call, 4 => end, 3 => drop], 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_step_leaves_the_serial_lanes_as_a_list_would_be(
        queue in 0..5_usize, steps in steps(),
    ) {
        run(Policy::Serial { queue }, steps);
    }

    #[test]
    fn every_step_leaves_the_latest_wins_lanes_as_a_list_would_be(steps in steps()) {
        run(Policy::Latest, steps);
    }

    #[test]
    fn every_step_leaves_the_overlapping_lanes_as_a_list_would_be(steps in steps()) {
        run(Policy::Overlapping, steps);
    }
}
