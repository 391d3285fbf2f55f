//! The relay against a naive model, step by step, also while the work is being driven.
//!
//! A member *waits* from a pending poll to its next poll. It *sleeps* while it waits and its task has
//! not been woken since. Whenever the work lies in its slot, this must hold:
//!
//! - If the work is woken and a member sleeps, two tasks with a waiting member are awake. Either of
//!   them may never be polled again, and the other still drives the work.
//! - If the work has ended or published a result, no member sleeps that does not know it.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what helps a test may panic as the test may"
)]

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use buttress_core::{Ambient, Criticality, Deadline, Driven, Join, MemberId, Relay};
use proptest::{collection::vec, option, prelude::*, sample::Index};
use tokio::time::Instant;

const TASKS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    /// A member joins, with a deadline in this many seconds.
    Enter(usize, Option<u64>, usize),
    Leave(Index),
    /// A member is polled. If it drives the work, these steps are made meanwhile.
    Poll(Index, Vec<Step>, Outcome),
    Ring,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Returns(Driven),
    Panics,
}

/// What should be so, written down as plainly as it can be said.
struct Model {
    work: Work,
    woken: bool,
    results: u64,
    members: Vec<Member>,
    highest: Criticality,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    In,
    Out,
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    id: MemberId,
    task: usize,
    deadline: Option<Deadline>,
    known: u64,
    /// How often its task had been woken when it began to wait.
    waits: Option<usize>,
}

struct World {
    start: Instant,
    relay: Relay<Load>,
    dropped: Rc<Cell<u32>>,
    tasks: [Arc<Task>; TASKS],
    model: RefCell<Model>,
}

impl World {
    fn new() -> Self {
        let dropped = Rc::default();
        let ambient = Ambient::new(None, Criticality::Sheddable);
        let (relay, id) = Relay::new(Load(Rc::clone(&dropped)), ambient);
        let first = Member { id, task: 0, deadline: None, known: 0, waits: None };
        let model = RefCell::new(Model {
            work: Work::In,
            woken: true,
            results: 0,
            members: vec![first],
            highest: Criticality::Sheddable,
        });
        Self { start: Instant::now(), relay, dropped, tasks: Default::default(), model }
    }

    fn step(&self, step: &Step, polled: Option<MemberId>) {
        match step {
            Step::Enter(task, seconds, criticality) => self.enter(*task, *seconds, *criticality),
            Step::Ring => self.ring(),
            Step::Leave(index) => self.leave(*index, polled),
            Step::Poll(index, meanwhile, outcome) => self.poll(*index, polled, meanwhile, *outcome),
        }
        self.check();
    }

    fn enter(&self, task: usize, seconds: Option<u64>, criticality: usize) {
        let after = |seconds| Deadline::at(self.start + Duration::from_secs(seconds));
        let (deadline, criticality) = (seconds.map(after), Criticality::ALL[criticality]);
        let entry = self.relay.join(Ambient::new(deadline, criticality));
        let mut model = self.model.borrow_mut();
        if model.work == Work::Out {
            assert_eq!(entry, Join::Reentrant);
            return;
        }
        if model.members.is_empty() {
            assert_eq!(entry, Join::Closed);
            return;
        }
        let Join::Member(id) = entry else { panic!("{entry:?}") };
        assert!(model.members.iter().all(|member| member.id != id));
        model.members.push(Member { id, task, deadline, known: 0, waits: None });
        model.highest = model.highest.max(criticality);
    }

    fn ring(&self) {
        let before = self.woken();
        self.relay.wake_driver();
        let mut model = self.model.borrow_mut();
        let woken_tasks = self.woken() - before;
        match model.work {
            Work::In if !model.woken => assert!(woken_tasks <= 2, "{woken_tasks} woken"),
            _ => assert_eq!(woken_tasks, 0),
        }
        model.woken = true;
    }

    fn leave(&self, index: Index, polled: Option<MemberId>) {
        let Some(at) = self.pick(index, polled) else { return };
        let member = self.model.borrow_mut().members.remove(at);
        let is_last = self.model.borrow().members.is_empty();
        assert_eq!(self.relay.leave(member.id), is_last);
        if is_last {
            self.model.borrow_mut().work = Work::Gone;
        }
    }

    fn poll(&self, index: Index, polled: Option<MemberId>, meanwhile: &[Step], outcome: Outcome) {
        let Some(at) = self.pick(index, polled) else { return };
        let Member { id, task, known, .. } = self.model.borrow().members[at];
        let (is_news, drives) = {
            let model = self.model.borrow();
            let is_news = model.results > known || model.work == Work::Gone;
            (is_news, !is_news && model.work == Work::In && model.woken)
        };
        let ambient = self.ambient();
        let (has_driven, woken) = (Cell::new(false), Cell::new(self.tasks[task].woken()));
        let waker = Waker::from(Arc::clone(&self.tasks[task]));
        let poll = AssertUnwindSafe(|| {
            self.relay.poll(id, known, &mut Context::from_waker(&waker), |_, given| {
                has_driven.set(true);
                assert_eq!(given, ambient);
                let mut model = self.model.borrow_mut();
                (model.work, model.woken) = (Work::Out, false);
                drop(model);
                for step in meanwhile {
                    self.step(step, Some(id));
                }
                woken.set(self.tasks[task].woken());
                match outcome {
                    Outcome::Returns(drive) => drive,
                    Outcome::Panics => resume_unwind(Box::new(())),
                }
            })
        });
        let returned = catch_unwind(poll);
        assert_eq!(has_driven.get(), drives);
        let mut model = self.model.borrow_mut();
        let mut is_ready = is_news;
        if drives {
            is_ready = true;
            match outcome {
                Outcome::Returns(Driven::Pending) => (model.work, is_ready) = (Work::In, false),
                Outcome::Returns(Driven::More) => (model.work, model.woken) = (Work::In, true),
                Outcome::Returns(Driven::Done) | Outcome::Panics => {
                    model.work = Work::Gone;
                }
            }
            model.results += u64::from(is_ready);
        }
        match (outcome, returned) {
            (Outcome::Panics, Err(_)) if drives => {}
            (_, returned) => assert_eq!(returned.unwrap().is_ready(), is_ready),
        }
        let member = model.members.iter_mut().find(|member| member.id == id).unwrap();
        member.known += u64::from(is_ready);
        member.waits = (!is_ready).then_some(woken.get());
    }

    fn check(&self) {
        let model = self.model.borrow();
        assert_eq!(self.relay.members(), model.members.len());
        assert_eq!(self.dropped.get(), u32::from(model.work == Work::Gone));
        assert_eq!(self.relay.ambient().deadline, self.ambient().deadline);
        let waiting = model.members.iter().filter_map(|member| Some((member, member.waits?)));
        let (sleeping, awake): (Vec<_>, Vec<_>) =
            waiting.partition(|(member, woken)| self.tasks[member.task].woken() == *woken);
        for (member, _) in &sleeping {
            assert!(model.results <= member.known && model.work != Work::Gone, "{member:?} sleeps");
        }
        if model.work == Work::In && model.woken && !sleeping.is_empty() {
            let tasks: BTreeSet<_> = awake.iter().map(|(member, _)| member.task).collect();
            assert!(tasks.len() >= 2, "{sleeping:?} sleep, and awake are only {awake:?}");
        }
    }

    /// The ambient values of the present members.
    fn ambient(&self) -> Ambient {
        let model = self.model.borrow();
        let deadlines = || model.members.iter().map(|member| member.deadline);
        let deadline = if deadlines().any(|deadline| deadline.is_none()) {
            None
        } else {
            deadlines().max().flatten()
        };
        Ambient::new(deadline, model.highest)
    }

    /// One of the members, but for the one that is being polled.
    fn pick(&self, index: Index, polled: Option<MemberId>) -> Option<usize> {
        let model = self.model.borrow();
        let free = |at: &usize| Some(model.members[*at].id) != polled;
        let free: Vec<_> = (0..model.members.len()).filter(free).collect();
        (!free.is_empty()).then(|| *index.get(&free))
    }

    fn woken(&self) -> usize {
        self.tasks.iter().map(|task| task.woken()).sum()
    }
}

/// Work that counts how often it was dropped.
struct Load(Rc<Cell<u32>>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// A task that counts how often it was woken.
#[derive(Debug, Default)]
struct Task(AtomicUsize);

impl Task {
    fn woken(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let enter = (0..TASKS, option::of(0..5_u64), 0..4_usize);
    let enter = enter.prop_map(|(task, seconds, level)| Step::Enter(task, seconds, level));
    let leave = any::<Index>().prop_map(Step::Leave);
    let idle = any::<Index>().prop_map(|index| Step::Poll(index, Vec::new(), PENDING));
    let inner = prop_oneof![
        3 => idle,
        2 => Just(Step::Ring),
        1 => leave.clone(),
        1 => enter.clone(),
    ];
    let outcome = prop_oneof![
        30 => Just(PENDING),
        8 => Just(Outcome::Returns(Driven::More)),
        1 => Just(Outcome::Returns(Driven::Done)),
        1 => Just(Outcome::Panics),
    ];
    let poll = (any::<Index>(), vec(inner, 0..6), outcome)
        .prop_map(|(index, meanwhile, outcome)| Step::Poll(index, meanwhile, outcome));
    vec(prop_oneof![3 => enter, 1 => leave, 8 => poll, 4 => Just(Step::Ring)], 1..80)
}

const PENDING: Outcome = Outcome::Returns(Driven::Pending);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_waiting_member_sees_the_end_in_random_runs(steps in steps()) {
        let world = World::new();
        for step in &steps {
            world.step(step, None);
        }
    }
}
