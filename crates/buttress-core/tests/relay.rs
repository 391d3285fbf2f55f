//! The relay: one piece of work with many members.

#![expect(clippy::panic, reason = "what helps a test may panic as the test may")]

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

use buttress_core::{
    Ambient, Criticality, Deadline, DriveEnd, Driven, Driver, Join, MemberId, Relay,
};
use tokio::time::Instant;

#[test]
fn first_polled_member_drives() {
    let (relay, idle) = relay(());
    let id = member(&relay);
    assert!(poll(&relay, id, 0, &Task::new(), |(), _| Driven::Done).is_ready());
    assert!(poll(&relay, idle, 0, &Task::new(), not_driven).is_ready());
}

#[test]
fn work_is_not_driven_without_a_wake_up() {
    let (relay, id) = relay(());
    let task = Task::new();
    assert!(poll(&relay, id, 0, &task, pending).is_pending());
    assert!(poll(&relay, id, 0, &task, not_driven).is_pending());
    relay.wake_driver();
    assert_eq!(task.woken(), 1);
    assert!(poll(&relay, id, 0, &task, |(), _| Driven::Done).is_ready());
}

#[test]
fn wake_driver_wakes_the_driver_and_a_deputy() {
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
    relay.wake_driver();
    assert_eq!(driving.woken(), 1);
    assert_eq!(woken(others), 1);
    relay.wake_driver();
    assert_eq!(driving.woken(), 1, "it was woken already");
    assert_eq!(woken(others), 1, "it was woken already");
}

#[test]
fn wake_driver_wakes_the_last_driver() {
    let (relay, _first) = relay(());
    let tasks = [(); 5].map(|()| Task::new());
    let members = tasks.each_ref().map(|task| (member(&relay), task));
    for (id, task) in members {
        assert!(poll(&relay, id, 0, task, pending).is_pending());
    }
    for (id, task) in members {
        relay.wake_driver();
        assert!(poll(&relay, id, 0, task, pending).is_pending());
        for (other, task) in members {
            assert!(poll(&relay, other, 0, task, not_driven).is_pending());
        }
        let before = (task.woken(), woken(&tasks));
        relay.wake_driver();
        assert_eq!(task.woken(), before.0 + 1);
        assert_eq!(woken(&tasks), before.1 + 2);
    }
}

#[test]
fn member_is_woken_by_its_last_waker() {
    let (relay, first) = relay(());
    let second = member(&relay);
    let [before, driving, waiting] = [(); 3].map(|()| Task::new());
    assert!(poll(&relay, first, 0, &before, pending).is_pending());
    assert!(poll(&relay, second, 0, &before, not_driven).is_pending());
    assert!(poll(&relay, first, 0, &driving, not_driven).is_pending());
    assert!(poll(&relay, second, 0, &waiting, not_driven).is_pending());
    relay.wake_driver();
    assert_eq!(before.woken(), 0);
    assert_eq!(driving.woken(), 1);
    assert_eq!(waiting.woken(), 1);
}

#[test]
fn two_members_replace_a_driver_that_left() {
    let (relay, driver) = relay(());
    let tasks = [(); 3].map(|()| Task::new());
    assert!(poll(&relay, driver, 0, &Task::new(), pending).is_pending());
    for task in &tasks {
        assert!(poll(&relay, member(&relay), 0, task, not_driven).is_pending());
    }
    assert!(!relay.leave(driver));
    assert_eq!(woken(&tasks), 0, "the work has not been woken");
    relay.wake_driver();
    assert_eq!(woken(&tasks), 2);
}

#[test]
fn driver_that_is_not_polled_delays_no_other() {
    let (relay, driver) = relay(());
    let deputy = member(&relay);
    let task = Task::new();
    assert!(poll(&relay, driver, 0, &Task::new(), pending).is_pending());
    assert!(poll(&relay, deputy, 0, &task, not_driven).is_pending());
    relay.wake_driver();
    assert_eq!(task.woken(), 1);
    assert!(poll(&relay, deputy, 0, &task, |(), _| Driven::Done).is_ready());
}

#[test]
fn woken_member_that_leaves_passes_the_wake_up_on() {
    let (relay, first) = relay(());
    let ids = [first, member(&relay), member(&relay), member(&relay)];
    let tasks = [(); 4].map(|()| Task::new());
    let mut members: Vec<_> = ids.into_iter().zip(&tasks).collect();
    for (id, task) in &members {
        assert!(poll(&relay, *id, 0, task, |(), _| Driven::Pending).is_pending());
    }
    relay.wake_driver();
    while members.len() > 1 {
        let heir = members.iter().position(|(_, task)| task.woken() > 0).unwrap();
        assert!(!relay.leave(members.remove(heir).0));
        assert!(members.iter().any(|(_, task)| task.woken() > 0), "no member was woken");
    }
    assert!(relay.leave(members[0].0));
}

#[test]
fn wake_up_during_a_drive_takes_effect_when_the_driver_parks() {
    let (relay, driver) = relay(());
    let (task, other) = (Task::new(), Task::new());
    let id = member(&relay);
    let outcome = poll(&relay, driver, 0, &task, |(), _| {
        assert!(poll(&relay, id, 0, &other, not_driven).is_pending());
        relay.wake_driver();
        thread::scope(|scope| scope.spawn(|| relay.wake_driver()).join().unwrap());
        assert_eq!(task.woken(), 0, "there is nothing to be driven yet");
        assert_eq!(other.woken(), 0, "there is nothing to be driven yet");
        Driven::Pending
    });
    assert!(outcome.is_pending());
    assert_eq!(task.woken(), 1);
    assert_eq!(other.woken(), 1);
    assert!(poll(&relay, id, 0, &other, |(), _| Driven::Done).is_ready());
}

#[test]
fn published_result_wakes_all_members_and_work_is_driven_on() {
    let (relay, driver) = relay(());
    let tasks = [(); 3].map(|()| Task::new());
    let ids = tasks.each_ref().map(|task| {
        let id = member(&relay);
        assert!(poll(&relay, id, 0, task, pending).is_pending());
        id
    });
    relay.wake_driver();
    let before = tasks.each_ref().map(|task| task.woken());
    for (id, task) in ids.into_iter().zip(&tasks) {
        assert!(poll(&relay, id, 0, task, pending).is_pending());
    }
    relay.wake_driver();
    assert!(poll(&relay, driver, 0, &Task::new(), |(), _| Driven::More).is_ready());
    for (before, task) in before.iter().zip(&tasks) {
        assert!(task.woken() > *before);
    }
    for (id, task) in ids.into_iter().zip(&tasks) {
        assert!(poll(&relay, id, 0, task, not_driven).is_ready());
    }
    assert!(poll(&relay, ids[0], 1, &tasks[0], |(), _| Driven::Done).is_ready());
}

#[test]
fn slower_member_does_not_wait_for_published_results() {
    let (relay, slow) = relay(());
    let fast = member(&relay);
    for known in 0..3 {
        assert!(poll(&relay, fast, known, &Task::new(), |(), _| Driven::More).is_ready());
    }
    for known in 0..3 {
        assert!(poll(&relay, slow, known, &Task::new(), not_driven).is_ready());
    }
    assert!(poll(&relay, slow, 3, &Task::new(), pending).is_pending());
}

#[test]
fn finished_work_releases_all_members() {
    let (relay, waiting) = relay(());
    let (task, driver) = (Task::new(), member(&relay));
    assert!(
        poll(&relay, driver, 0, &Task::new(), |(), _| {
            assert!(poll(&relay, waiting, 0, &task, not_driven).is_pending());
            Driven::Done
        })
        .is_ready()
    );
    assert_eq!(task.woken(), 1);
    relay.wake_driver();
    assert_eq!(task.woken(), 1);
    for id in [driver, waiting, member(&relay)] {
        for known in [0, 1, 7] {
            assert!(poll(&relay, id, known, &task, not_driven).is_ready());
        }
    }
}

#[test]
fn work_is_dropped_before_members_see_its_end() {
    struct Hears(Arc<AtomicUsize>, AtomicUsize);
    impl Wake for Hears {
        fn wake(self: Arc<Self>) {
            self.1.store(self.0.load(SeqCst), SeqCst);
        }
    }

    let (load, dropped) = Load::new();
    let (relay, driver) = relay(load);
    let (hears, waiting) = (Arc::new(Hears(dropped, AtomicUsize::new(0))), member(&relay));
    let outcome = poll(&relay, driver, 0, &Task::new(), |_, _| {
        let waker = Waker::from(Arc::clone(&hears));
        let cx = &mut Context::from_waker(&waker);
        assert!(relay.poll(waiting, 0, cx, not_driven).is_pending());
        Driven::Done
    });
    assert!(outcome.is_ready());
    assert_eq!(hears.1.load(SeqCst), 1);
}

#[test]
fn panic_of_the_work_reaches_the_driver_and_releases_all_members() {
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
    assert_eq!(task.woken(), 1);
    assert_eq!(dropped.load(SeqCst), 1);
    assert!(poll(&relay, waiting, 0, &task, not_driven).is_ready());
    assert!(!relay.leave(driver));
    assert!(relay.leave(waiting));
}

#[test]
fn panicking_destructor_of_the_work_releases_all_members() {
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
            Driven::Done
        })
    });
    assert!(catch_unwind(panics).is_err());
    assert_eq!(task.woken(), 1);
    assert!(poll(&relay, waiting, 0, &task, not_driven).is_ready());
}

#[test]
fn last_leave_drops_the_work_and_closes_the_relay() {
    let (load, dropped) = Load::new();
    let (relay, first) = relay(load);
    let second = member(&relay);
    assert!(poll(&relay, second, 0, &Task::new(), |_, _| Driven::Pending).is_pending());
    assert!(!relay.leave(second));
    let third = member(&relay);
    assert!(!relay.leave(first));
    assert_eq!(relay.members(), 1);
    assert_eq!(dropped.load(SeqCst), 0);
    assert!(relay.leave(third));
    assert_eq!(relay.members(), 0);
    assert_eq!(dropped.load(SeqCst), 1);
    assert_eq!(relay.join(ambient(None)), Join::Closed);
    relay.wake_driver();
    drop(relay);
    assert_eq!(dropped.load(SeqCst), 1);
}

#[test]
fn relay_is_closed_after_all_members_left() {
    let (relay, id) = relay(());
    assert!(poll(&relay, id, 0, &Task::new(), |(), _| Driven::Done).is_ready());
    assert!(relay.leave(id));
    assert_eq!(relay.join(ambient(None)), Join::Closed);
}

#[test]
fn join_is_reentrant_only_on_the_driving_thread() {
    let (relay, id) = relay(());
    assert!(
        poll(&relay, id, 0, &Task::new(), |(), _| {
            assert_eq!(relay.join(ambient(None)), Join::Reentrant);
            let elsewhere = thread::scope(|scope| scope.spawn(|| relay.join(ambient(None))).join());
            assert!(matches!(elsewhere.unwrap(), Join::Member(_)));
            Driven::Pending
        })
        .is_pending()
    );
    assert_eq!(relay.members(), 2);
    assert!(matches!(relay.join(ambient(None)), Join::Member(_)), "it is not driven now");
}

#[test]
fn work_runs_under_the_ambient_values_of_its_members() {
    use Criticality::{Critical, Sheddable};
    let start = Instant::now();
    let until = |secs: u64| Some(Deadline::at(start + Duration::from_secs(secs)));
    let on = |deadline, criticality| Ambient::new(deadline, criticality);
    let (relay, two) = Relay::new((), on(until(2), Sheddable));
    assert_eq!(relay.ambient(), on(until(2), Sheddable));
    let three = enter(&relay, on(until(3), Sheddable));
    let one = enter(&relay, on(until(1), Critical));
    assert_eq!(relay.ambient(), on(until(3), Critical));
    let endless = enter(&relay, on(None, Sheddable));
    assert_eq!(relay.ambient(), on(None, Critical));
    assert!(!relay.leave(endless));
    let also_three = enter(&relay, on(until(3), Sheddable));
    assert!(!relay.leave(three));
    assert_eq!(relay.ambient(), on(until(3), Critical));
    assert!(!relay.leave(also_three));
    assert_eq!(relay.ambient(), on(until(2), Critical));
    assert!(!relay.leave(two));

    let seen = Cell::new(None);
    let polled = poll(&relay, one, 0, &Task::new(), |(), ambient| {
        seen.set(Some(ambient));
        Driven::Pending
    });
    assert!(polled.is_pending());
    assert_eq!(seen.get(), Some(on(until(1), Critical)), "the highest that ever came");
    let four = enter(&relay, on(until(4), Sheddable));
    assert!(!relay.leave(one));
    assert_eq!(relay.ambient().deadline, until(4));
    assert!(relay.leave(four));
}

#[test]
fn ambient_has_no_head_deadline() {
    let deadline = Deadline::after(Duration::from_secs(1));
    let ambient = deadline.until_head(Ambient::current);
    assert_eq!(ambient.deadline, None);
    let seen = deadline.until_head(|| ambient.with(Deadline::current));
    assert_eq!(seen, None, "the work does not belong to the polling call");
}

#[test]
fn panicking_waker_does_not_stop_other_wake_ups() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("on purpose");
        }
    }
    let (relay, driver) = Relay::new((), ambient(None));
    let deputy = enter(&relay, ambient(None));
    let (panics, task) = (Waker::from(Arc::new(Panics)), Arc::<Task>::default());
    let cx = &mut Context::from_waker(&panics);
    assert!(relay.poll(driver, 0, cx, |(), _| Driven::Pending).is_pending());
    let waker = Waker::from(Arc::clone(&task));
    let cx = &mut Context::from_waker(&waker);
    assert!(relay.poll(deputy, 0, cx, |(), _| Driven::Pending).is_pending());
    let rung = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| relay.wake_driver()));
    assert!(rung.is_err());
    assert_eq!(task.woken(), 1);
}

#[test]
fn ambient_with_sets_deadline_and_criticality() {
    let deadline = Some(Deadline::after(Duration::from_secs(1)));
    let ambient = Ambient::new(deadline, Criticality::Sheddable);
    assert_eq!(ambient.with(Ambient::current), ambient);
    let nothing = Ambient::new(None, Criticality::Critical);
    assert_eq!(ambient.with(|| nothing.with(Ambient::current)), nothing);
    assert_eq!(Ambient::current(), nothing);
}

#[test]
fn publish_wakes_exactly_the_remaining_members() {
    for order in orders(vec![0, 1, 2, 3]) {
        for leave in 0..=order.len() {
            let (relay, driver) = relay(());
            assert!(poll(&relay, driver, 0, &Task::new(), pending).is_pending());
            let tasks = [(); 4].map(|()| Task::new());
            let ids = tasks.each_ref().map(|task| {
                let id = member(&relay);
                assert!(poll(&relay, id, 0, task, not_driven).is_pending());
                id
            });
            let (left, stayed) = order.split_at(leave);
            assert!(left.iter().all(|member| !relay.leave(ids[*member])));
            relay.wake_driver();
            let outcome = poll(&relay, driver, 0, &Task::new(), |(), _| Driven::Done);
            assert!(outcome.is_ready());
            assert!(left.iter().all(|member| tasks[*member].woken() == 0), "{left:?} left");
            assert!(stayed.iter().all(|member| tasks[*member].woken() == 1), "{left:?} left");
        }
    }
}

#[test]
fn reused_member_id_keeps_nothing_of_its_former_member() {
    let (relay, driver) = relay(());
    let tasks = [(); 3].map(|()| Task::new());
    assert!(poll(&relay, driver, 0, &Task::new(), pending).is_pending());
    let ids = tasks.each_ref().map(|task| {
        let id = member(&relay);
        assert!(poll(&relay, id, 0, task, not_driven).is_pending());
        id
    });
    for id in ids {
        assert!(!relay.leave(id));
    }
    let fresh = [(); 3].map(|()| Task::new());
    let again = fresh.each_ref().map(|_| member(&relay));
    assert!(again.iter().all(|id| ids.contains(id)), "ids are used again");
    assert!(poll(&relay, again[1], 0, &fresh[1], not_driven).is_pending());
    relay.wake_driver();
    assert_eq!(woken(&tasks), 0);
    assert_eq!(fresh.each_ref().map(|task| task.woken()), [0, 1, 0]);
}

/// Under the lock it would never end.
#[test]
fn wakers_are_woken_with_no_lock_held() {
    let (relay, first, looks) = watched();
    let relay = relay.get().unwrap();
    let (second, third) = (member(relay), member(relay));
    // Of one task each, for one of them is woken as the deputy of another.
    let wakers = [(); 3].map(|()| Waker::from(Arc::new(looks.again())));
    let [mut one, mut two, mut three] = wakers.each_ref().map(Context::from_waker);

    assert!(relay.poll(first, 0, &mut one, |_, _| Driven::Pending).is_pending());
    assert!(relay.poll(second, 0, &mut two, not_driven).is_pending());
    relay.wake_driver();
    assert_eq!(looks.times(), 2, "by a wake-up");
    let outcome = relay.poll(first, 0, &mut one, |_, _| {
        assert!(relay.poll(second, 0, &mut two, not_driven).is_pending());
        assert!(relay.poll(third, 0, &mut three, not_driven).is_pending());
        relay.wake_driver();
        Driven::Pending
    });
    assert!(outcome.is_pending());
    assert_eq!(looks.times(), 4, "by a driver that puts the work back");
    assert!(!relay.leave(first));
    assert_eq!(looks.times(), 5, "by one who leaves");
    let outcome = relay.poll(second, 0, &mut two, |_, _| {
        assert!(relay.poll(third, 0, &mut three, not_driven).is_pending());
        Driven::More
    });
    assert!(outcome.is_ready());
    assert_eq!(looks.times(), 6, "by a result");
    let outcome = relay.poll(second, 1, &mut two, |_, _| {
        assert!(relay.poll(third, 1, &mut three, not_driven).is_pending());
        Driven::Done
    });
    assert!(outcome.is_ready());
    assert_eq!(looks.times(), 8, "by the end, and the work was dropped");
}

#[test]
fn wakers_are_dropped_with_no_lock_held() {
    let (relay, first, looks) = watched();
    let relay = relay.get().unwrap();
    let (second, third) = (member(relay), member(relay));
    let idle = &mut Context::from_waker(Waker::noop());
    let waits = |id, drive: fn(&mut Looks, Ambient) -> Driven| {
        let waker = Waker::from(Arc::new(looks.again()));
        assert!(relay.poll(id, 0, &mut Context::from_waker(&waker), drive).is_pending());
    };

    assert!(relay.poll(first, 0, idle, |_, _| Driven::Pending).is_pending());
    waits(second, not_driven);
    waits(second, not_driven);
    assert_eq!(looks.times(), 1, "of one who waits elsewhere now");
    waits(third, not_driven);
    relay.wake_driver();
    assert_eq!(looks.times(), 3, "of the deputy, who was woken first");
    waits(second, |_, _| Driven::Pending);
    assert_eq!(looks.times(), 4, "of one who drives");
    assert!(!relay.leave(second));
    assert_eq!(looks.times(), 5, "of one who leaves");
}

#[test]
fn work_is_dropped_with_no_lock_held() {
    let (relay, id, looks) = watched();
    assert!(relay.get().unwrap().leave(id));
    assert_eq!(looks.times(), 1);
}

#[test]
fn lone_member_does_not_allocate() {
    let waker = Waker::from(Task::new());
    let cx = &mut Context::from_waker(&waker);
    let counted = allocation_counter::measure(|| {
        let (relay, id) = relay(());
        assert!(relay.poll(id, 0, cx, pending).is_pending());
        relay.wake_driver();
        assert!(relay.poll(id, 0, cx, |(), _| Driven::More).is_ready());
        assert!(relay.poll(id, 1, cx, pending).is_pending());
        relay.wake_driver();
        assert!(relay.poll(id, 1, cx, |(), _| Driven::Done).is_ready());
        assert!(relay.leave(id));
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

/// A waker, or work, that looks at the relay when it is woken and when it is dropped.
struct Looks(Weak<OnceLock<Relay<Looks>>>, Arc<AtomicUsize>);

impl Looks {
    fn again(&self) -> Self {
        Self(Weak::clone(&self.0), Arc::clone(&self.1))
    }

    fn look(&self) {
        if let Some(relay) = self.0.upgrade().as_deref().and_then(OnceLock::get) {
            relay.members();
            self.1.fetch_add(1, SeqCst);
        }
    }

    fn times(&self) -> usize {
        self.1.load(SeqCst)
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

/// A relay whose work looks at it.
fn watched() -> (Arc<OnceLock<Relay<Looks>>>, MemberId, Looks) {
    let relay = Arc::<OnceLock<_>>::default();
    let looks = Looks(Arc::downgrade(&relay), Arc::default());
    let (made, id) = Relay::new(looks.again(), ambient(None));
    assert!(relay.set(made).is_ok());
    (relay, id, looks)
}

#[test]
fn lone_driver_finishes_and_the_relay_is_reused() {
    let (mut relay, id) = relay(1);
    let task = Task::new();
    let mut driver = driver(&relay, id, &task);
    assert_eq!(driver.finish_alone(), DriveEnd::Reusable);
    drop(driver);
    assert_eq!(relay.join(ambient(None)), Join::Closed);
    relay.wake_driver();
    assert_eq!(task.woken(), 0);

    let deadline = Some(Deadline::after(Duration::from_secs(1)));
    let (work, id) = relay.reuse(ambient(deadline)).unwrap();
    assert_eq!(std::mem::replace(work, 2), 1);
    assert_eq!(relay.members(), 1);
    assert_eq!(relay.ambient(), ambient(deadline));
    let given = |work: &mut i32, given| {
        assert_eq!(*work, 2);
        assert_eq!(given, ambient(deadline));
        Driven::Pending
    };
    assert!(poll(&relay, id, 0, &task, given).is_pending());
    let late = member(&relay);
    relay.wake_driver();
    assert_eq!(task.woken(), 1);
    assert!(poll(&relay, late, 0, &Task::new(), |_, _| Driven::Done).is_ready());
    assert!(!relay.leave(id));
    assert!(relay.leave(late));
}

#[test]
fn other_members_are_woken_when_the_last_driver_is_dropped() {
    let (mut relay, id) = relay(Arc::new(()));
    let (late, waiting) = (member(&relay), Task::new());
    let mut driver = driver(&relay, id, &Task::new());
    assert!(poll(&relay, late, 0, &waiting, not_driven).is_pending());
    assert_eq!(driver.finish_alone(), DriveEnd::Others);
    assert_eq!(waiting.woken(), 0);
    let work = Arc::downgrade(driver.work().unwrap());
    drop(driver);
    assert_eq!(waiting.woken(), 1);
    assert_eq!(work.strong_count(), 0);
    assert!(poll(&relay, late, 0, &waiting, not_driven).is_ready());
    assert!(relay.reuse(ambient(None)).is_none());
}

#[test]
fn relay_of_several_members_is_not_reused() {
    let (mut relay, id) = relay(());
    assert!(!relay.leave(member(&relay)));
    let mut driver = driver(&relay, id, &Task::new());
    assert_eq!(driver.finish_alone(), DriveEnd::Alone);
    drop(driver);
    assert!(relay.reuse(ambient(None)).is_none());
}

#[test]
fn waker_of_a_former_member_is_not_used() {
    let (mut relay, id) = relay(());
    let (task, other) = (Task::new(), member(&relay));
    assert!(poll(&relay, other, 0, &Task::new(), pending).is_pending());
    assert!(poll(&relay, id, 0, &task, not_driven).is_pending());
    let waker = Arc::downgrade(&task);
    drop(task);
    assert!(!relay.leave(other));
    relay.wake_driver();
    assert_eq!(waker.strong_count(), 0, "it was woken, and let go");
    let mut driver = driver(&relay, id, &Task::new());
    assert_eq!(driver.finish_alone(), DriveEnd::Alone);
    drop(driver);
    assert!(relay.reuse(ambient(None)).is_none());
}

#[test]
fn unfinished_relay_cannot_be_reused() {
    let (mut relay, id) = relay(());
    assert!(relay.reuse(ambient(None)).is_none());
    assert!(poll(&relay, id, 0, &Task::new(), |(), _| Driven::Done).is_ready());
    assert!(relay.reuse(ambient(None)).is_none());
}

fn relay<W>(work: W) -> (Relay<W>, MemberId) {
    Relay::new(work, ambient(None))
}

fn driver<'a, W>(relay: &'a Relay<W>, id: MemberId, task: &Arc<Task>) -> Driver<'a, W> {
    let waker = Waker::from(Arc::clone(task));
    match relay.poll_drive(id, 0, &mut Context::from_waker(&waker)) {
        Poll::Ready(Some(driver)) => driver,
        _ => panic!("this member does not drive"),
    }
}

fn ambient(deadline: Option<Deadline>) -> Ambient {
    Ambient::new(deadline, Criticality::default())
}

fn member<W>(relay: &Relay<W>) -> MemberId {
    enter(relay, ambient(None))
}

fn enter<W>(relay: &Relay<W>, ambient: Ambient) -> MemberId {
    match relay.join(ambient) {
        Join::Member(id) => id,
        entry => panic!("{entry:?}"),
    }
}

fn poll<W>(
    relay: &Relay<W>,
    id: MemberId,
    known: u64,
    task: &Arc<Task>,
    drive: impl FnOnce(&mut W, Ambient) -> Driven,
) -> Poll<()> {
    let waker = Waker::from(Arc::clone(task));
    relay.poll(id, known, &mut Context::from_waker(&waker), drive)
}

fn pending(_: &mut (), _: Ambient) -> Driven {
    Driven::Pending
}

fn not_driven<W>(_: &mut W, _: Ambient) -> Driven {
    panic!("it was driven")
}

fn orders(of: Vec<usize>) -> Vec<Vec<usize>> {
    if of.is_empty() {
        return vec![of];
    }
    let with_first = |first: &usize| {
        let rest = of.iter().copied().filter(|other| other != first).collect();
        let with_rest = |mut rest: Vec<_>| {
            rest.insert(0, *first);
            rest
        };
        orders(rest).into_iter().map(with_rest).collect::<Vec<_>>()
    };
    of.iter().flat_map(with_first).collect()
}

fn woken(tasks: &[Arc<Task>]) -> usize {
    tasks.iter().map(|task| task.woken()).sum()
}
