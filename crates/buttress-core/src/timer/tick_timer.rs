use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::coop::unconstrained,
    time::{Sleep, sleep},
};

/// A timer that counts a wait in short ticks.
///
/// However late the runtime is, one tick passes at a time. Between two ticks all other tasks have their
/// turn, so a limit in ticks is fair on a machine that is busy.
#[derive(Debug)]
pub struct TickTimer {
    period: Duration,
    state: TickState,
}

impl TickTimer {
    /// A timer that ticks every `period` while it is polled, and is off until then.
    pub const fn new(period: Duration) -> Self {
        Self { period, state: TickState::Off }
    }

    /// Ready once for each tick.
    ///
    /// Without a tokio runtime that has its time driver enabled, a tick lasts until the next poll, for
    /// which the task is woken at once.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A runtime without its time driver, or one that shuts down, panics.
        let polled = catch_unwind(AssertUnwindSafe(|| self.wait(cx)));
        let polled = polled.unwrap_or_else(|_| self.turn(cx));
        if polled.is_ready() {
            self.state = TickState::Off;
        }
        polled
    }

    /// Turns it off. The next tick is a whole one.
    pub fn stop(&mut self) {
        self.state = TickState::Off;
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            TickState::Off if Handle::try_current().is_err() => self.turn(cx),
            TickState::Off => {
                let mut sleep = Box::pin(sleep(self.period));
                let polled = pin!(unconstrained(sleep.as_mut())).poll(cx);
                self.state = TickState::Timer(sleep);
                polled
            }
            TickState::Timer(sleep) => pin!(unconstrained(sleep.as_mut())).poll(cx),
            TickState::Turn => Poll::Ready(()),
        }
    }

    fn turn(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.state = TickState::Turn;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[derive(Debug)]
enum TickState {
    Off,
    Timer(Pin<Box<Sleep>>),
    /// Until the next poll.
    Turn,
}
