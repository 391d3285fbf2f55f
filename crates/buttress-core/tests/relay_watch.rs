//! The watchdog of the relay, over time.

#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what helps a test may panic as the test may"
)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use buttress_core::{Ambient, Criticality, Deadline, Driven, Join, MemberId, Relay, WatchdogHost};
use tokio::time::{advance, sleep};

/// A relay with members of a task each, all of which wait.
struct Host {
    relay: Relay<()>,
}

impl WatchdogHost for Host {
    fn on_watchdog(&self) {
        self.relay.wake_if_stalled();
    }
}

struct Crowd {
    host: Arc<Host>,
    members: Vec<(MemberId, Arc<Task>)>,
}

impl Crowd {
    fn of(many: usize) -> Self {
        let (relay, first) = Relay::new((), ambient(None));
        let host = Arc::new(Host { relay });
        let mut crowd = Self { host, members: vec![(first, Task::new())] };
        crowd.poll(0, Driven::Pending);
        for _ in 1..many {
            crowd.join();
        }
        crowd
    }

    fn join(&mut self) {
        let Join::Member(id) = self.host.relay.join(ambient(None)) else { panic!("closed") };
        self.host.relay.start_watchdog(id, &self.host);
        self.members.push((id, Task::new()));
        self.poll(self.members.len() - 1, Driven::Pending);
    }

    /// Polls this member, whose turn it may be: then this comes of it.
    fn poll(&self, member: usize, drive: Driven) {
        let (id, task) = &self.members[member];
        let waker = Waker::from(Arc::clone(task));
        let polled = self.host.relay.poll(*id, 0, &mut Context::from_waker(&waker), |(), _| drive);
        assert_eq!(polled == Poll::Ready(()), drive != Driven::Pending);
    }

    fn wake_driver(&self) {
        self.host.relay.wake_driver();
    }

    /// How often each of them was woken.
    fn woken(&self) -> Vec<usize> {
        self.members.iter().map(|(_, task)| task.woken()).collect()
    }
}

fn ambient(deadline: Option<Deadline>) -> Ambient {
    Ambient::new(deadline, Criticality::default())
}

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

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test(start_paused = true)]
async fn watchdog_wakes_all_others_once_after_ten_ms() {
    let crowd = Crowd::of(6);
    crowd.wake_driver();
    assert_eq!(crowd.woken(), [1, 0, 0, 0, 0, 1]);
    sleep(ms(9)).await;
    assert_eq!(crowd.woken(), [1, 0, 0, 0, 0, 1]);
    sleep(ms(1)).await;
    assert_eq!(crowd.woken(), [1; 6]);
    sleep(ms(1_000)).await;
    assert_eq!(crowd.woken(), [1; 6]);
    // Those who do not come are not waited for again.
    crowd.poll(2, Driven::Pending);
    for _ in 0..3 {
        crowd.wake_driver();
        crowd.poll(2, Driven::Pending);
        sleep(ms(20)).await;
    }
    assert_eq!(crowd.woken(), [1, 1, 4, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn watchdog_stays_silent_if_a_woken_member_drives() {
    for comes in [0, 5] {
        let crowd = Crowd::of(6);
        for _ in 0..10 {
            crowd.wake_driver();
            sleep(ms(9)).await;
            crowd.poll(comes, Driven::Pending);
            crowd.poll(5 - comes, Driven::Pending);
            sleep(ms(4)).await;
        }
        assert_eq!(crowd.woken(), [10, 0, 0, 0, 0, 10]);
    }
}

#[tokio::test(start_paused = true)]
async fn each_wake_up_has_its_own_ten_ms() {
    let crowd = Crowd::of(6);
    crowd.wake_driver();
    sleep(ms(9)).await;
    crowd.poll(0, Driven::Pending);
    crowd.poll(5, Driven::Pending);
    crowd.wake_driver();
    sleep(ms(9)).await;
    assert_eq!(crowd.woken(), [2, 0, 0, 0, 0, 2]);
    sleep(ms(1)).await;
    assert_eq!(crowd.woken(), [2, 1, 1, 1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn watchdog_is_not_armed_for_two_members_or_a_single_task() {
    let crowd = Crowd::of(2);
    crowd.wake_driver();
    sleep(ms(20)).await;
    assert_eq!(crowd.woken(), [1, 1]);
    let mut crowd = Crowd::of(1);
    for _ in 0..5 {
        let task = Arc::clone(&crowd.members[0].1);
        crowd.join();
        let last = crowd.members.len() - 1;
        crowd.members[last].1 = task;
        crowd.poll(last, Driven::Pending);
    }
    crowd.wake_driver();
    sleep(ms(20)).await;
    assert_eq!(crowd.members[0].1.woken(), 1);
}

#[tokio::test(start_paused = true)]
async fn watchdog_timer_is_dropped_with_the_relay() {
    let crowd = Crowd::of(6);
    crowd.wake_driver();
    let (host, tasks) = (Arc::downgrade(&crowd.host), crowd.members);
    drop(crowd.host);
    assert_eq!(host.strong_count(), 0);
    sleep(ms(20)).await;
    assert!(tasks.iter().all(|(_, task)| Arc::strong_count(task) == 1));
}

#[tokio::test(start_paused = true)]
async fn watchdog_stays_silent_after_the_end() {
    let crowd = Crowd::of(6);
    crowd.wake_driver();
    crowd.poll(0, Driven::Done);
    assert_eq!(crowd.woken(), [1; 6]);
    sleep(ms(20)).await;
    assert_eq!(crowd.woken(), [1; 6]);
}

/// Under the lock it would never end.
#[tokio::test(start_paused = true)]
async fn watchdog_wakes_with_no_lock_held() {
    struct Looks(Arc<Host>, AtomicUsize);
    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            self.1.fetch_add(self.0.relay.members(), SeqCst);
        }
    }

    let crowd = Crowd::of(5);
    let looks = Arc::new(Looks(Arc::clone(&crowd.host), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&looks));
    let id = crowd.members[2].0;
    let cx = &mut Context::from_waker(&waker);
    assert!(crowd.host.relay.poll(id, 0, cx, |(), _| panic!("it was driven")).is_pending());
    crowd.wake_driver();
    sleep(ms(10)).await;
    assert_eq!(looks.1.load(SeqCst), 5);
}

#[test]
fn watchdog_needs_a_runtime_with_timers() {
    for runtime in [None, Some(tokio::runtime::Builder::new_current_thread().build().unwrap())] {
        let _entered = runtime.as_ref().map(tokio::runtime::Runtime::enter);
        let crowd = Crowd::of(6);
        for _ in 0..2 {
            crowd.wake_driver();
            crowd.poll(0, Driven::Pending);
        }
        assert_eq!(crowd.woken(), [2, 0, 0, 0, 1, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn join_in_time_is_closed_after_a_member_waited_in_vain() {
    let at = |millis| ambient(Some(Deadline::after(ms(millis))));
    let member = |relay: &Relay<()>, ambient| match relay.join_in_time(ambient) {
        Join::Member(id) => id,
        entry => panic!("{entry:?}"),
    };
    // Whether it stays, and whether it leaves before.
    for (leaves_at, is_open) in [(None, false), (Some(10), false), (Some(9), true)] {
        for is_first in [true, false] {
            let (relay, first) = Relay::new((), if is_first { at(10) } else { ambient(None) });
            let second = member(&relay, if is_first { ambient(None) } else { at(10) });
            member(&relay, at(1_000));
            let spent = if is_first { first } else { second };
            assert!(!relay.is_closed());
            for now in 1..=20 {
                advance(ms(1)).await;
                if leaves_at == Some(now) {
                    relay.note_unserved(spent);
                    assert!(!relay.leave(spent));
                }
                assert_eq!(relay.is_closed(), !is_open && now >= 10, "at {now}");
            }
            let entry = relay.join_in_time(ambient(None));
            assert_eq!(entry == Join::Closed, !is_open);
            assert!(matches!(relay.join(ambient(None)), Join::Member(_)), "if it must");
        }
    }
}

/// A waker that panics, of a member of its own.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("on purpose");
    }
}

impl Crowd {
    /// Lets this member wait with a waker that panics.
    fn sabotage(&self, member: usize) {
        let waker = Waker::from(Arc::new(Panics));
        let cx = &mut Context::from_waker(&waker);
        let polled = self.host.relay.poll(self.members[member].0, 0, cx, |(), _| Driven::Pending);
        assert!(polled.is_pending());
    }
}

#[tokio::test(start_paused = true)]
async fn panicking_waker_of_a_driver_does_not_stop_the_watchdog() {
    for culprit in [0, 5] {
        let crowd = Crowd::of(6);
        crowd.sabotage(culprit);
        assert!(catch_unwind(AssertUnwindSafe(|| crowd.wake_driver())).is_err());
        sleep(ms(10)).await;
        assert_eq!(crowd.woken()[1..5], [1; 4], "{culprit}");
    }
}

#[tokio::test(start_paused = true)]
async fn panicking_waker_in_the_watchdog_stops_no_other_timer() {
    let crowd = Crowd::of(6);
    crowd.sabotage(2);
    crowd.wake_driver();
    let mut due: Vec<_> = (0..20).map(|_| (Box::pin(sleep(ms(10))), Task::new())).collect();
    for (sleep, task) in &mut due {
        let waker = Waker::from(Arc::clone(task));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    sleep(ms(11)).await;
    assert_eq!(crowd.woken(), [1, 1, 0, 1, 1, 1]);
    assert!(due.iter().all(|(_, task)| task.woken() == 1));
}
