//! The timer that counts a wait in ticks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use buttress_core::TickTimer;
use tokio::{
    runtime::Builder,
    time::{advance, sleep},
};

#[tokio::test(start_paused = true)]
async fn tick_passes_after_each_period() {
    let mut ticks = TickTimer::new(MS);
    let task = Arc::<Task>::default();
    for _ in 0..3 {
        assert_eq!(task.poll(&mut ticks), Poll::Pending);
        advance(MS).await;
        assert!(task.is_woken());
        assert_eq!(task.poll(&mut ticks), Poll::Ready(()));
    }
}

#[tokio::test(start_paused = true)]
async fn late_runtime_passes_a_single_tick() {
    let mut ticks = TickTimer::new(MS);
    let task = Arc::<Task>::default();
    assert_eq!(task.poll(&mut ticks), Poll::Pending);
    sleep(50 * MS).await;
    assert_eq!(task.poll(&mut ticks), Poll::Ready(()));
    assert_eq!(task.poll(&mut ticks), Poll::Pending);
}

#[tokio::test(start_paused = true)]
async fn stopped_timer_starts_with_a_whole_tick() {
    let mut ticks = TickTimer::new(2 * MS);
    let task = Arc::<Task>::default();
    assert_eq!(task.poll(&mut ticks), Poll::Pending);
    advance(MS).await;
    ticks.stop();
    assert_eq!(task.poll(&mut ticks), Poll::Pending);
    advance(MS).await;
    assert_eq!(task.poll(&mut ticks), Poll::Pending);
    advance(MS).await;
    assert_eq!(task.poll(&mut ticks), Poll::Ready(()));
}

#[test]
fn tick_without_a_timer_is_a_turn_of_the_task() {
    let turns = || {
        let mut ticks = TickTimer::new(MS);
        let task = Arc::<Task>::default();
        for _ in 0..3 {
            assert_eq!(task.poll(&mut ticks), Poll::Pending);
            assert!(task.is_woken());
            assert_eq!(task.poll(&mut ticks), Poll::Ready(()));
        }
    };
    turns();
    Builder::new_current_thread().build().unwrap().block_on(async { turns() });
}

#[derive(Default)]
struct Task(AtomicBool);

impl Task {
    fn poll(self: &Arc<Self>, ticks: &mut TickTimer) -> Poll<()> {
        self.0.store(false, Ordering::Relaxed);
        ticks.poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
    }

    fn is_woken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const MS: Duration = Duration::from_millis(1);
