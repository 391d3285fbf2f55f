//! The relay: one piece of work, and many who wait for it.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use buttress_core::{Criticality, Deadline, Drive, Entry, Place, Relay, Terms};
use tokio::time::Instant;

#[test]
fn work_is_driven_by_whoever_is_polled_first() {
    let (relay, idle) = relay(());
    let place = member(&relay);
    assert!(poll(&relay, place, 0, &Task::new(), |(), _| Drive::Done).is_ready());
    assert!(poll(&relay, idle, 0, &Task::new(), not_driven).is_ready());
}

#[test]
fn work_that_has_not_been_woken_is_not_driven() {
    let (relay, place) = relay(());
    let task = Task::new();
    assert!(poll(&relay, place, 0, &task, pending).is_pending());
    assert!(poll(&relay, place, 0, &task, not_driven).is_pending());
    relay.ring();
    assert_eq!(task.woken(), 1);
    assert!(poll(&relay, place, 0, &task, |(), _| Drive::Done).is_ready());
}

#[test]
fn a_ring_wakes_the_driver_and_one_other_task() {
    let (relay, driver) = relay(());
    let tasks = [(); 4].map(|()| Task::new());
    let [driving, others @ ..] = &tasks;
    assert!(poll(&relay, driver, 0, driving, pending).is_pending());
    // More of the driver's own task than anybody would look through.
    for _ in 0..20 {
        assert!(poll(&relay, member(&relay), 0, driving, not_driven).is_pending());
    }
    for task in others {
        assert!(poll(&relay, member(&relay), 0, task, not_driven).is_pending());
    }
    for _ in 0..20 {
        assert!(poll(&relay, member(&relay), 0, driving, not_driven).is_pending());
    }
    relay.ring();
    assert_eq!((driving.woken(), woken(others)), (1, 1));
    relay.ring();
    assert_eq!((driving.woken(), woken(others)), (1, 1), "it was woken already");
}

#[test]
fn whoever_drove_last_is_the_one_that_is_woken() {
    let (relay, _first) = relay(());
    let tasks = [(); 5].map(|()| Task::new());
    let members = tasks.each_ref().map(|task| (member(&relay), task));
    for (place, task) in members {
        assert!(poll(&relay, place, 0, task, pending).is_pending());
    }
    for (place, task) in members {
        relay.ring();
        assert!(poll(&relay, place, 0, task, pending).is_pending());
        let before = task.woken();
        relay.ring();
        assert_eq!(task.woken(), before + 1);
        assert!(poll(&relay, place, 0, task, pending).is_pending());
        let unpolled = members.iter().filter(|(other, _)| *other != place);
        unpolled.for_each(|(place, task)| {
            assert!(poll(&relay, *place, 0, task, not_driven).is_pending());
        });
    }
}

#[test]
fn two_tasks_stand_in_for_a_driver_that_has_left() {
    let (relay, driver) = relay(());
    let tasks = [(); 3].map(|()| Task::new());
    assert!(poll(&relay, driver, 0, &Task::new(), pending).is_pending());
    for task in &tasks {
        assert!(poll(&relay, member(&relay), 0, task, not_driven).is_pending());
    }
    assert!(!relay.leave(driver));
    assert_eq!(woken(&tasks), 0, "the work has not been woken");
    relay.ring();
    assert_eq!(woken(&tasks), 2);
}

#[test]
fn a_driver_that_is_never_polled_again_delays_nobody() {
    let (relay, driver) = relay(());
    let deputy = member(&relay);
    let task = Task::new();
    assert!(poll(&relay, driver, 0, &Task::new(), pending).is_pending());
    assert!(poll(&relay, deputy, 0, &task, not_driven).is_pending());
    relay.ring();
    assert_eq!(task.woken(), 1);
    assert!(poll(&relay, deputy, 0, &task, |(), _| Drive::Done).is_ready());
}

#[test]
fn whoever_leaves_after_it_was_woken_passes_the_wake_on() {
    let (relay, first) = relay(());
    let places = [first, member(&relay), member(&relay), member(&relay)];
    let tasks = [(); 4].map(|()| Task::new());
    let mut members: Vec<_> = places.into_iter().zip(&tasks).collect();
    for (place, task) in &members {
        assert!(poll(&relay, *place, 0, task, |(), _| Drive::Pending).is_pending());
    }
    relay.ring();
    while members.len() > 1 {
        let heir = members.iter().position(|(_, task)| task.woken() > 0).unwrap();
        assert!(!relay.leave(members.remove(heir).0));
        assert!(members.iter().any(|(_, task)| task.woken() > 0), "nobody was told");
    }
    assert!(relay.leave(members[0].0));
}

#[test]
fn a_ring_while_the_work_is_out_is_heard_when_it_is_put_back() {
    let (relay, driver) = relay(());
    let (task, other) = (Task::new(), Task::new());
    let place = member(&relay);
    let outcome = poll(&relay, driver, 0, &task, |(), _| {
        assert!(poll(&relay, place, 0, &other, not_driven).is_pending());
        relay.ring();
        thread::scope(|scope| scope.spawn(|| relay.ring()).join().unwrap());
        assert_eq!((task.woken(), other.woken()), (0, 0), "there is nothing to be driven yet");
        Drive::Pending
    });
    assert!(outcome.is_pending());
    assert_eq!((task.woken(), other.woken()), (1, 1));
    assert!(poll(&relay, place, 0, &other, |(), _| Drive::Done).is_ready());
}

#[test]
fn news_wakes_everybody_and_work_that_may_have_more_is_driven_on() {
    let (relay, driver) = relay(());
    let tasks = [(); 3].map(|()| Task::new());
    let places = tasks.each_ref().map(|task| {
        let place = member(&relay);
        assert!(poll(&relay, place, 0, task, pending).is_pending());
        place
    });
    relay.ring();
    let before = tasks.each_ref().map(|task| task.woken());
    for (place, task) in places.into_iter().zip(&tasks) {
        assert!(poll(&relay, place, 0, task, pending).is_pending());
    }
    relay.ring();
    assert!(poll(&relay, driver, 0, &Task::new(), |(), _| Drive::More).is_ready());
    for (before, task) in before.iter().zip(&tasks) {
        assert!(task.woken() > *before);
    }
    for (place, task) in places.into_iter().zip(&tasks) {
        assert!(poll(&relay, place, 0, task, not_driven).is_ready());
    }
    assert!(poll(&relay, places[0], 1, &tasks[0], |(), _| Drive::Done).is_ready());
}

#[test]
fn one_who_reads_slower_is_not_kept_waiting_for_what_is_there() {
    let (relay, slow) = relay(());
    let fast = member(&relay);
    for known in 0..3 {
        assert!(poll(&relay, fast, known, &Task::new(), |(), _| Drive::More).is_ready());
    }
    for known in 0..3 {
        assert!(poll(&relay, slow, known, &Task::new(), not_driven).is_ready());
    }
    assert!(poll(&relay, slow, 3, &Task::new(), pending).is_pending());
}

#[test]
fn work_that_is_done_lets_everybody_go() {
    let (relay, driver) = relay(());
    let (task, waiting) = (Task::new(), member(&relay));
    assert!(
        poll(&relay, driver, 0, &Task::new(), |(), _| {
            assert!(poll(&relay, waiting, 0, &task, not_driven).is_pending());
            Drive::Done
        })
        .is_ready()
    );
    assert_eq!(task.woken(), 1);
    relay.ring();
    assert_eq!(task.woken(), 1);
    for place in [driver, waiting, member(&relay)] {
        for known in [0, 1, 7] {
            assert!(poll(&relay, place, known, &task, not_driven).is_ready());
        }
    }
}

#[test]
fn a_panic_of_the_work_goes_to_the_driver_and_lets_everybody_go() {
    let (load, dropped) = Load::new();
    let (relay, driver) = relay(load);
    let (task, waiting) = (Task::new(), member(&relay));
    let panics = AssertUnwindSafe(|| {
        poll(&relay, driver, 0, &Task::new(), |_, _| {
            assert!(poll(&relay, waiting, 0, &task, not_driven).is_pending());
            resume_unwind(Box::new("the work's own"))
        })
    });
    let panic = catch_unwind(panics).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"the work's own"));
    assert_eq!((task.woken(), dropped.load(SeqCst)), (1, 1));
    assert!(poll(&relay, waiting, 0, &task, not_driven).is_ready());
    assert!(!relay.leave(driver));
    assert!(relay.leave(waiting));
}

#[test]
fn a_destructor_that_panics_lets_everybody_go() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            resume_unwind(Box::new(()));
        }
    }

    let (relay, driver) = relay(Panics);
    let (task, waiting) = (Task::new(), member(&relay));
    let panics = AssertUnwindSafe(|| {
        poll(&relay, driver, 0, &Task::new(), |_, _| {
            assert!(poll(&relay, waiting, 0, &task, not_driven).is_pending());
            Drive::Done
        })
    });
    assert!(catch_unwind(panics).is_err());
    assert_eq!(task.woken(), 1);
    assert!(poll(&relay, waiting, 0, &task, not_driven).is_ready());
}

#[test]
fn the_last_to_leave_drops_the_work_and_closes_the_door() {
    let (load, dropped) = Load::new();
    let (relay, first) = relay(load);
    let second = member(&relay);
    assert!(poll(&relay, second, 0, &Task::new(), |_, _| Drive::Pending).is_pending());
    assert!(!relay.leave(second));
    let third = member(&relay);
    assert!(!relay.leave(first));
    assert_eq!((relay.members(), dropped.load(SeqCst)), (1, 0));
    assert!(relay.leave(third));
    assert_eq!((relay.members(), dropped.load(SeqCst)), (0, 1));
    assert_eq!(relay.enter(terms(None)), Entry::Closed);
    relay.ring();
    drop(relay);
    assert_eq!(dropped.load(SeqCst), 1);
}

#[test]
fn nobody_enters_when_all_have_left_though_the_work_was_done() {
    let (relay, place) = relay(());
    assert!(poll(&relay, place, 0, &Task::new(), |(), _| Drive::Done).is_ready());
    assert!(relay.leave(place));
    assert_eq!(relay.enter(terms(None)), Entry::Closed);
}

#[test]
fn the_work_may_not_wait_for_itself_but_another_thread_may() {
    let (relay, place) = relay(());
    assert!(
        poll(&relay, place, 0, &Task::new(), |(), _| {
            assert_eq!(relay.enter(terms(None)), Entry::Inside);
            let elsewhere = thread::scope(|scope| scope.spawn(|| relay.enter(terms(None))).join());
            assert!(matches!(elsewhere.unwrap(), Entry::Member(_)));
            Drive::Pending
        })
        .is_pending()
    );
    assert_eq!(relay.members(), 2);
    assert!(matches!(relay.enter(terms(None)), Entry::Member(_)), "it is not driven now");
}

#[test]
fn work_runs_on_the_terms_of_those_who_are_there() {
    use Criticality::{Critical, Sheddable};
    let start = Instant::now();
    let until = |secs: u64| Some(Deadline::at(start + Duration::from_secs(secs)));
    let on = |deadline, criticality| Terms { deadline, criticality };
    let (relay, two) = Relay::new((), on(until(2), Sheddable));
    assert_eq!(relay.terms(), on(until(2), Sheddable));
    let three = enter(&relay, on(until(3), Sheddable));
    let one = enter(&relay, on(until(1), Critical));
    assert_eq!(relay.terms(), on(until(3), Critical));
    let endless = enter(&relay, on(None, Sheddable));
    assert_eq!(relay.terms(), on(None, Critical));
    assert!(!relay.leave(endless));
    let also_three = enter(&relay, on(until(3), Sheddable));
    assert!(!relay.leave(three));
    assert_eq!(relay.terms(), on(until(3), Critical));
    assert!(!relay.leave(also_three));
    assert_eq!(relay.terms(), on(until(2), Critical));
    assert!(!relay.leave(two));

    let seen = Cell::new(None);
    let polled = poll(&relay, one, 0, &Task::new(), |(), terms| {
        seen.set(Some(terms));
        Drive::Pending
    });
    assert!(polled.is_pending());
    assert_eq!(seen.get(), Some(on(until(1), Critical)), "the highest that ever came");
    let four = enter(&relay, on(until(4), Sheddable));
    assert!(!relay.leave(one));
    assert_eq!(relay.terms().deadline, until(4));
    assert!(relay.leave(four));
}

#[test]
fn terms_are_what_is_ambient() {
    let deadline = Some(Deadline::after(Duration::from_secs(1)));
    let terms = Terms { deadline, criticality: Criticality::Sheddable };
    assert_eq!(terms.with(Terms::current), terms);
    let nothing = Terms { deadline: None, criticality: Criticality::Critical };
    assert_eq!(terms.with(|| nothing.with(Terms::current)), nothing);
    assert_eq!(Terms::current(), nothing);
}

#[test]
fn a_place_that_is_taken_again_has_nothing_of_its_former_holder() {
    let (relay, driver) = relay(());
    let tasks = [(); 3].map(|()| Task::new());
    assert!(poll(&relay, driver, 0, &Task::new(), pending).is_pending());
    let places = tasks.each_ref().map(|task| {
        let place = member(&relay);
        assert!(poll(&relay, place, 0, task, not_driven).is_pending());
        place
    });
    places.iter().for_each(|place| assert!(!relay.leave(*place)));
    let fresh = [(); 3].map(|()| Task::new());
    let again = fresh.each_ref().map(|_| member(&relay));
    assert!(again.iter().all(|place| places.contains(place)), "places are used again");
    assert!(poll(&relay, again[1], 0, &fresh[1], not_driven).is_pending());
    relay.ring();
    assert_eq!((woken(&tasks), fresh.each_ref().map(|task| task.woken())), (0, [0, 1, 0]));
}

/// A waker and a piece of work that look at the relay whenever they are run: under its lock that
/// would never end, and the clock of `timeout` is what tells.
#[test]
fn wakers_and_destructors_are_run_with_no_lock_held() {
    let relay: Arc<OnceLock<Relay<Looks>>> = Arc::default();
    let looks = |members| Looks(Arc::downgrade(&relay), members, Arc::default());
    let work = looks(2);
    let (made, first) = Relay::new(work.again(), terms(None));
    let relay = Arc::clone(&relay);
    let Ok(()) = relay.set(made) else { panic!("it was empty") };
    let relay = relay.get().unwrap();
    let second = member(relay);

    let waker = looks(2);
    let poll_once = |place, waker: &Looks, drive: fn(&mut Looks, Terms) -> Drive| {
        let waker = Waker::from(Arc::new(waker.again()));
        relay.poll(place, 0, &mut Context::from_waker(&waker), drive)
    };
    for _ in 0..3 {
        assert!(poll_once(first, &waker, |_, _| Drive::Pending).is_pending());
        assert!(poll_once(second, &waker, |_, _| Drive::Pending).is_pending());
        assert!(poll_once(second, &waker, |_, _| Drive::Pending).is_pending());
        relay.ring();
    }
    assert!(poll_once(first, &waker, |_, _| Drive::More).is_ready());
    relay
        .poll(second, 1, &mut Context::from_waker(Waker::noop()), |_, _| Drive::Pending)
        .is_pending();
    let seen = waker.2.load(SeqCst);
    assert!(seen >= 12, "wakers were woken and dropped: {seen}");
    let third = member(relay);
    let leaver = looks(2);
    let waker = Waker::from(Arc::new(leaver.again()));
    assert!(
        relay.poll(third, 1, &mut Context::from_waker(&waker), |_, _| Drive::Pending).is_pending()
    );
    drop(waker);
    assert!(!relay.leave(third));
    assert_eq!(leaver.2.load(SeqCst), 1);
    relay.ring();
    assert!(
        relay
            .poll(first, 1, &mut Context::from_waker(Waker::noop()), |_, _| Drive::Done)
            .is_ready()
    );
    assert_eq!(work.2.load(SeqCst), 1);
}

#[test]
fn the_work_of_the_last_to_leave_is_dropped_with_no_lock_held() {
    let relay: Arc<OnceLock<Relay<Looks>>> = Arc::default();
    let work = Looks(Arc::downgrade(&relay), 0, Arc::default());
    let (made, place) = Relay::new(work.again(), terms(None));
    let Ok(()) = relay.set(made) else { panic!("it was empty") };
    assert!(relay.get().unwrap().leave(place));
    assert_eq!(work.2.load(SeqCst), 1);
}

#[test]
fn one_who_waits_alone_costs_no_allocation() {
    let waker = Waker::from(Task::new());
    let cx = &mut Context::from_waker(&waker);
    let counted = allocation_counter::measure(|| {
        let (relay, place) = relay(());
        assert!(relay.poll(place, 0, cx, pending).is_pending());
        relay.ring();
        assert!(relay.poll(place, 0, cx, |(), _| Drive::More).is_ready());
        assert!(relay.poll(place, 1, cx, pending).is_pending());
        relay.ring();
        assert!(relay.poll(place, 1, cx, |(), _| Drive::Done).is_ready());
        assert!(relay.leave(place));
    });
    assert_eq!(counted.count_total, 0);
}

/// A task that counts how often it was woken.
#[derive(Debug, Default)]
struct Task(AtomicUsize);

impl Task {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn woken(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Work that counts how often it was dropped.
struct Load(Arc<AtomicUsize>);

impl Load {
    fn new() -> (Self, Arc<AtomicUsize>) {
        let dropped = Arc::default();
        (Self(Arc::clone(&dropped)), dropped)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Looks whether the relay has as many members as it should, and counts how often it did.
struct Looks(Weak<OnceLock<Relay<Looks>>>, usize, Arc<AtomicUsize>);

impl Looks {
    fn again(&self) -> Self {
        Self(Weak::clone(&self.0), self.1, Arc::clone(&self.2))
    }

    fn look(&self) {
        if let Some(relay) = self.0.upgrade().as_deref().and_then(OnceLock::get) {
            assert_eq!(relay.members(), self.1);
            self.2.fetch_add(1, SeqCst);
        }
    }
}

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        self.look();
    }
}

fn relay<W>(work: W) -> (Relay<W>, Place) {
    Relay::new(work, terms(None))
}

fn terms(deadline: Option<Deadline>) -> Terms {
    Terms { deadline, criticality: Criticality::default() }
}

fn member<W>(relay: &Relay<W>) -> Place {
    enter(relay, terms(None))
}

fn enter<W>(relay: &Relay<W>, terms: Terms) -> Place {
    match relay.enter(terms) {
        Entry::Member(place) => place,
        entry => panic!("{entry:?}"),
    }
}

fn poll<W>(
    relay: &Relay<W>,
    place: Place,
    known: u64,
    task: &Arc<Task>,
    drive: impl FnOnce(&mut W, Terms) -> Drive,
) -> Poll<()> {
    let waker = Waker::from(Arc::clone(task));
    relay.poll(place, known, &mut Context::from_waker(&waker), drive)
}

fn pending(_: &mut (), _: Terms) -> Drive {
    Drive::Pending
}

fn not_driven<W>(_: &mut W, _: Terms) -> Drive {
    panic!("it was driven")
}

fn woken(tasks: &[Arc<Task>]) -> usize {
    tasks.iter().map(|task| task.woken()).sum()
}
