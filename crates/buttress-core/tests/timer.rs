//! The timers that the calls of a layer share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use buttress_core::{Deadline, Timer, Timers};
use tokio::time::advance;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_timer_is_ready_from_its_deadline_on_and_not_before() {
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
async fn a_deadline_that_has_passed_is_ready_at_the_first_poll() {
    let timers = Timers::default();
    assert!(poll(&mut Timer::new(), Deadline::after(Duration::ZERO), &timers).is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_timer_wakes_the_task_that_polled_last() {
    let (timers, mut timer) = (Timers::default(), Timer::new());
    let deadline = Deadline::after(10 * MS);
    let [first, last] = [(), ()].map(|()| Arc::new(Woken::default()));
    for woken in [&first, &last] {
        let waker = Waker::from(Arc::clone(woken));
        let polled = timer.poll(&mut Context::from_waker(&waker), deadline, &timers);
        assert!(polled.is_pending());
    }
    tokio::time::sleep(10 * MS).await;
    assert_eq!((first.times(), last.times()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn deadlines_in_any_order_pass_when_they_should() {
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
async fn a_timer_that_is_dropped_or_disarmed_leaves_the_queue_and_never_fires() {
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
async fn a_timer_that_was_never_polled_is_in_no_queue() {
    let timers = Timers::default();
    let _timer = Timer::new();
    assert_eq!(timers.pending(), 0);
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
