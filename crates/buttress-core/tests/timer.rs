//! The timers that the calls of a layer share.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use buttress_core::{Deadline, Timer, Timers, wake_all};
use tokio::time::advance;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn timer_is_ready_from_its_deadline_on() {
    let (timers, mut timer) = (Timers::default(), Timer::new());
    let deadline = Deadline::after(10 * MS);
    assert!(poll(&mut timer, deadline, &timers).is_pending());
    advance(9 * MS).await;
    assert!(poll(&mut timer, deadline, &timers).is_pending());
    advance(MS).await;
    assert!(poll(&mut timer, deadline, &timers).is_ready());
    assert!(poll(&mut timer, deadline, &timers).is_ready());
}

#[tokio::test(start_paused = true)]
async fn timer_is_ready_at_the_first_poll_after_the_deadline() {
    let timers = Timers::default();
    assert!(poll(&mut Timer::new(), Deadline::after(Duration::ZERO), &timers).is_ready());
}

#[tokio::test(start_paused = true)]
async fn timer_wakes_the_last_polling_task() {
    let (timers, mut timer) = (Timers::default(), Timer::new());
    let deadline = Deadline::after(10 * MS);
    let [first, last] = [(), ()].map(|()| Arc::new(Woken::default()));
    for woken in [&first, &last] {
        let waker = Waker::from(Arc::clone(woken));
        let polled = timer.poll(&mut Context::from_waker(&waker), deadline, &timers);
        assert!(polled.is_pending());
    }
    tokio::time::sleep(10 * MS).await;
    assert_eq!(first.times(), 0);
    assert_eq!(last.times(), 1);
}

#[tokio::test(start_paused = true)]
async fn deadlines_in_any_order_pass_on_time() {
    let timers = Timers::default();
    let mut calls: Vec<_> =
        (1..=100).rev().map(|ms| (Timer::new(), Deadline::after(ms * MS))).collect();
    for (timer, deadline) in &mut calls {
        assert!(poll(timer, *deadline, &timers).is_pending());
    }
    assert!((1..100).contains(&timers.pending()), "the far ones have timers of their own");
    for passed in 1..=100 {
        advance(MS).await;
        let polled = calls.iter_mut().map(|(timer, deadline)| poll(timer, *deadline, &timers));
        assert_eq!(polled.filter(Poll::is_ready).count(), passed);
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_or_disarmed_timer_leaves_the_queue() {
    let timers = Timers::default();
    let deadline = Deadline::after(MS);
    let [mut dropped, mut disarmed] = [Timer::new(), Timer::new()];
    for timer in [&mut dropped, &mut disarmed] {
        assert!(poll(timer, deadline, &timers).is_pending());
    }
    assert_eq!(timers.pending(), 2);
    drop(dropped);
    disarmed.disarm();
    assert_eq!(timers.pending(), 0);
    advance(2 * MS).await;
    assert!(poll(&mut disarmed, deadline, &timers).is_pending());
}

#[tokio::test(start_paused = true)]
async fn unpolled_timer_is_in_no_queue() {
    let timers = Timers::default();
    let _timer = Timer::new();
    assert_eq!(timers.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn panicking_waker_does_not_stop_other_deadlines() {
    let timers = Timers::default();
    let whole = Arc::new(Woken::default());
    let (broken, waker) = (Waker::from(Arc::new(Broken)), Waker::from(Arc::clone(&whole)));
    let mut calls = Vec::new();
    for (after, waker) in [(1, &broken), (1, &broken), (1, &waker), (2, &broken), (3, &waker)] {
        let (mut timer, deadline) = (Timer::new(), Deadline::after(after * MS));
        assert!(timer.poll(&mut Context::from_waker(waker), deadline, &timers).is_pending());
        calls.push(timer);
    }
    advance(MS).await;
    assert_eq!(whole.times(), 1);
    advance(MS).await;
    advance(MS).await;
    assert_eq!(whole.times(), 2);
    // Found due by a call that is not the one that panics.
    let late = Deadline::after(Duration::ZERO);
    assert!(poll(&mut Timer::new(), late, &timers).is_ready());
}

#[test]
fn wake_all_wakes_all_before_it_resumes_a_panic() {
    let whole = Arc::new(Woken::default());
    let wakers = || {
        let broken = || Waker::from(Arc::new(Broken));
        [broken(), Waker::from(Arc::clone(&whole)), broken(), Waker::from(Arc::clone(&whole))]
    };
    catch_unwind(AssertUnwindSafe(|| wake_all(wakers()))).unwrap_err();
    assert_eq!(whole.times(), 2);
    wake_all([Waker::from(Arc::clone(&whole))]);
    assert_eq!(whole.times(), 3);
    // A second panic that left a destructor would abort the process.
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        let _waking = Waking(wakers().into());
        panic!("the first");
    }));
    assert_eq!(dropped.unwrap_err().downcast_ref(), Some(&"the first"));
    assert_eq!(whole.times(), 5);
}

/// Wakes when it is dropped.
struct Waking(Vec<Waker>);

impl Drop for Waking {
    fn drop(&mut self) {
        wake_all(self.0.drain(..));
    }
}

/// A waker that panics.
struct Broken;

impl Wake for Broken {
    #[expect(clippy::panic, reason = "what it is for")]
    fn wake(self: Arc<Self>) {
        panic!("as told");
    }
}

fn poll(timer: &mut Timer, deadline: Deadline, timers: &Timers) -> Poll<()> {
    timer.poll(&mut Context::from_waker(Waker::noop()), deadline, timers)
}

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Woken {
    fn times(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
