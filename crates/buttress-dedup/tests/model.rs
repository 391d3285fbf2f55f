//! Flights, compared with naive ones poll by poll. Each wake is needed.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of a test may panic, as the test may"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::resume_unwind,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
};

use buttress_core::{By, Plain, Reason, Rejection};
use buttress_dedup::{DedupLayer, NoCache, ShareError, UnsharedErrors};
use proptest::prelude::*;
use tokio_test::task::{self, Spawn};
use tower::{Layer, service_fn};
use tower_service::Service;

/// The number of a caller, and of the inner call that the caller led.
type Id = usize;

/// The outcome of a call, which holds the number of its leader.
type Outcome = Result<Id, Failure>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    Down(Id),
    Rejected(Reason),
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection.reason())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Answer,
    Error,
    Panic,
}

#[derive(Clone, Debug)]
enum Step {
    /// A new call, which is not polled yet.
    Call(u8),
    Poll(usize),
    Leave(usize),
    /// The service ends one of its running calls.
    End(usize, End),
    Forget(u8),
}

/// The expected behaviour, written as plainly as possible.
#[derive(Debug, Default)]
struct Model {
    flights: BTreeMap<Id, Flight>,
    /// For each key, the leader of the flight that takes new callers.
    table: BTreeMap<u8, Id>,
    callers: BTreeMap<Id, (u8, Id)>,
    shares_errors: bool,
}

#[derive(Debug, Default)]
struct Flight {
    members: BTreeSet<Id>,
    /// The service has been called.
    called: bool,
    /// The call has ended, and a waiter has polled its outcome.
    end: Option<End>,
    landed: bool,
    /// The error has been given to a caller.
    taken: bool,
}

impl Model {
    fn call(&mut self, id: Id, key: u8) {
        let leader = *self.table.entry(key).or_insert(id);
        self.flights.entry(leader).or_default().members.insert(id);
        self.callers.insert(id, (key, leader));
    }

    fn poll(&mut self, id: Id) -> Poll<Outcome> {
        let (key, leader) = self.callers[&id];
        let flight = self.flights.get_mut(&leader).unwrap();
        flight.called = true;
        let Some(end) = flight.end else { return Poll::Pending };
        if !flight.landed {
            flight.landed = true;
            self.table.retain(|_, led| *led != leader);
        }
        let own = !flight.taken && (id == leader || !flight.members.contains(&leader));
        let outcome = match end {
            End::Answer => Ok(leader),
            End::Panic => Err(Failure::Rejected(Reason::Panicked)),
            End::Error if own || self.shares_errors => Err(Failure::Down(leader)),
            End::Error => {
                self.leave(id);
                self.call(id, key);
                return self.poll(id);
            }
        };
        flight.taken |= own;
        self.leave(id);
        Poll::Ready(outcome)
    }

    fn leave(&mut self, id: Id) {
        let (_, leader) = self.callers.remove(&id).unwrap();
        let flight = self.flights.get_mut(&leader).unwrap();
        flight.members.remove(&id);
        if flight.members.is_empty() {
            self.flights.remove(&leader);
            self.table.retain(|_, led| *led != leader);
        }
    }

    /// The calls that the service runs.
    fn running(&self) -> BTreeSet<Id> {
        let running = |(leader, flight): (&Id, &Flight)| {
            (flight.called && flight.end.is_none()).then_some(*leader)
        };
        self.flights.iter().filter_map(running).collect()
    }

    /// The waiters of flights that take new callers.
    fn waiters(&self) -> usize {
        self.table.values().map(|leader| self.flights[leader].members.len()).sum()
    }
}

/// The service, controlled from outside.
#[derive(Debug, Default)]
struct Upstream {
    /// Running calls, with their ends and wakers.
    running: BTreeMap<Id, (Option<End>, Option<Waker>)>,
    called: BTreeSet<Id>,
}

struct Leaving(Id, Arc<Mutex<Upstream>>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.1.lock().unwrap().running.remove(&self.0);
    }
}

type Call = Spawn<Pin<Box<dyn Future<Output = Outcome>>>>;

struct Real<S> {
    service: S,
    upstream: Arc<Mutex<Upstream>>,
    calls: BTreeMap<Id, Call>,
    /// Callers that were polled, and wait with a waker.
    polled: BTreeSet<Id>,
}

impl<S> Real<S>
where
    S: Service<(u8, Id), Response = Id, Error = Failure, Future: 'static>,
{
    fn end(&self, id: Id, end: End) {
        let mut upstream = self.upstream.lock().unwrap();
        let (ended, waker) = upstream.running.get_mut(&id).unwrap();
        *ended = Some(end);
        let waker = waker.take();
        drop(upstream);
        waker.unwrap().wake();
    }

    /// Polls a caller here and in the model, and compares the results.
    fn poll(&mut self, model: &mut Model, id: Id) {
        let polled = self.calls.get_mut(&id).unwrap().poll();
        assert_eq!(polled, model.poll(id), "caller {id}");
        self.polled.insert(id);
        if polled.is_ready() {
            self.leave(id);
        }
    }

    fn leave(&mut self, id: Id) {
        drop(self.calls.remove(&id));
        self.polled.remove(&id);
    }

    /// Polls woken callers only.
    fn settle(&mut self, model: &mut Model) {
        let woken = |(id, call): (&Id, &Call)| call.is_woken().then_some(*id);
        while let Some(id) = self.calls.iter().find_map(woken) {
            self.poll(model, id);
        }
    }
}

fn run<R>(layer: &Layered<R>, shares_errors: bool, steps: &[Step])
where
    R: ShareError<Failure> + Send + Sync + 'static,
{
    let (upstream, handle) = (Arc::<Mutex<Upstream>>::default(), layer.handle());
    let inside = Arc::clone(&upstream);
    let service = layer.layer(service_fn(move |(_, id): (u8, Id)| {
        let inside = Arc::clone(&inside);
        let mut upstream = inside.lock().unwrap();
        assert!(upstream.called.insert(id), "no caller leads twice");
        upstream.running.insert(id, (None, None));
        drop(upstream);
        let leaving = Leaving(id, inside);
        std::future::poll_fn(move |cx| {
            let mut upstream = leaving.1.lock().unwrap();
            let (end, waker) = upstream.running.get_mut(&id).unwrap();
            let Some(end) = *end else {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            };
            drop(upstream);
            match end {
                End::Answer => Poll::Ready(Ok(id)),
                End::Error => Poll::Ready(Err(Failure::Down(id))),
                End::Panic => resume_unwind(Box::new("as told")),
            }
        })
    }));
    let mut model = Model { shares_errors, ..Model::default() };
    let mut calls = 0;
    let mut real = Real { service, upstream, calls: BTreeMap::new(), polled: BTreeSet::new() };
    for (id, step) in steps.iter().enumerate() {
        let pick = |among: &BTreeSet<Id>, which: usize| {
            among.iter().nth(which.checked_rem(among.len())?).copied()
        };
        let callers = model.callers.keys().copied().collect();
        match step {
            Step::Call(key) => {
                model.call(id, *key);
                calls += 1;
                real.calls.insert(id, task::spawn(Box::pin(real.service.call((*key, id)))));
            }
            Step::Poll(which) => {
                if let Some(id) = pick(&callers, *which) {
                    real.poll(&mut model, id);
                }
            }
            Step::Leave(which) => {
                if let Some(id) = pick(&callers, *which) {
                    model.leave(id);
                    real.leave(id);
                }
            }
            Step::End(which, end) => {
                if let Some(id) = pick(&model.running(), *which) {
                    model.flights.get_mut(&id).unwrap().end = Some(*end);
                    real.end(id, *end);
                }
            }
            Step::Forget(key) => {
                model.table.remove(key);
                handle.invalidate(key);
            }
        }
        real.settle(&mut model);
        let upstream = real.upstream.lock().unwrap();
        let running = |(id, (end, _)): (&Id, &(Option<End>, _))| end.is_none().then_some(*id);
        let running: BTreeSet<_> = upstream.running.iter().filter_map(running).collect();
        assert_eq!(running, model.running());
        assert_eq!(handle.in_flight(), model.table.len());
        assert_eq!(handle.waiters(), model.waiters());
        assert_eq!(handle.calls(), calls);
        for id in &real.polled {
            let flight = &model.flights[&model.callers[id].1];
            assert!(flight.end.is_none(), "caller {id} waits, and was not woken for the outcome");
        }
    }
    drop(std::mem::take(&mut real.calls));
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(handle.waiters(), 0);
    assert!(real.upstream.lock().unwrap().running.is_empty());
}

type KeyFn = fn(&(u8, Id)) -> Option<u8>;
type Layered<R> = DedupLayer<Plain, By<KeyFn>, NoCache, R>;

fn layer() -> Layered<UnsharedErrors> {
    let key: KeyFn = |(key, _)| Some(*key);
    DedupLayer::keyed(key)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let call = (0..3_u8).prop_map(Step::Call);
    let poll = any::<usize>().prop_map(Step::Poll);
    let leave = any::<usize>().prop_map(Step::Leave);
    let ends = prop_oneof![3 => Just(End::Answer), 4 => Just(End::Error), 1 => Just(End::Panic)];
    let end = (any::<usize>(), ends).prop_map(|(which, end)| Step::End(which, end));
    let forget = (0..3_u8).prop_map(Step::Forget);
    let step = prop_oneof![8 => call, 8 => poll, 4 => leave, 4 => end, 1 => forget];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn polls_match_a_naive_flight(steps in steps()) {
        run(&layer(), false, &steps);
    }

    #[test]
    fn polls_match_a_naive_flight_with_shared_errors(steps in steps()) {
        run(&layer().share_errors(), true, &steps);
    }
}
