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

/// A timer that measures a wait in short ticks.
///
/// At most a single tick passes per poll, however late the runtime is. All other tasks run between
/// two ticks, so a limit in ticks is fair on a busy machine.
#[derive(Debug)]
pub struct TickTimer {
    period: Duration,
    state: TickState,
}

impl TickTimer {
    /// Creates a timer that ticks every `period` while it is polled. The first poll starts it.
    pub const fn new(period: Duration) -> Self {
        Self { period, state: TickState::Off }
    }

    /// Ready once for each tick.
    ///
    /// Without a tokio runtime that has its time driver enabled, a tick lasts until the next poll,
    /// and the task is woken at once for that poll.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // tokio panics if the runtime has no time driver or shuts down.
        let polled = catch_unwind(AssertUnwindSafe(|| self.wait(cx)));
        let polled = polled.unwrap_or_else(|_| self.turn(cx));
        if polled.is_ready() {
            self.state = TickState::Off;
        }
        polled
    }

    /// Stops the timer. The next tick lasts a whole period.
    pub fn stop(&mut self) {
        self.state = TickState::Off;
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            TickState::Off if Handle::try_current().is_err() => self.turn(cx),
            TickState::Off => {
                // Boxed: only a wait that lasts needs it, and the timer can move meanwhile.
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
