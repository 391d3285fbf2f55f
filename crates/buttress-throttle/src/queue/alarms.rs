use buttress_control::Nanos;
use buttress_core::Timer;
use tokio::runtime::Id;

/// The timers that wake a line when there is something for its first waiter: one for each runtime that
/// a waiter was polled in, nearly always one.
///
/// A timer wakes the line and not a waiter, so no call depends on another one being polled. A runtime
/// that stands still or ends takes its timer with it; the waiters of other runtimes have theirs. No timer
/// is set in any other runtime, which may have no timers, or end at any time.
///
/// It is under the lock of the line, so that a timer is dropped only for what the line is now. Timers are
/// set and dropped without that lock.
#[derive(Debug, Default)]
pub(crate) struct Alarms(Vec<Home>);

/// A runtime that a waiter was polled in.
#[derive(Debug)]
struct Home {
    runtime: Id,
    /// When its timer rings, or has rung.
    at: Option<Nanos>,
    /// For when its waiters were last woken to set an earlier timer, if none of them has done so yet.
    told: Option<Nanos>,
    /// `None` also while it is being set.
    timer: Option<Timer>,
}

/// Where a line is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Where {
    /// In a waiter's poll, within this runtime.
    Poll(Id),
    /// Anywhere else, within this runtime or none.
    Other(Option<Id>),
}

/// What is to be done for an alarm.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    /// The timer to set.
    pub(crate) set: Option<(Id, Nanos)>,
    /// Waiters in other runtimes have no timer that is early enough, and must be woken to set one.
    pub(crate) late_elsewhere: bool,
    /// Timers to drop.
    pub(crate) dropped: Vec<Timer>,
}

impl Alarms {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Sees to it that a timer rings when `due`. With nothing due, none needs to.
    pub(crate) fn claim(&mut self, due: Option<Nanos>, place: Where, now: Nanos) -> Claim {
        let here = match place {
            Where::Poll(here) => {
                if !self.0.iter().any(|home| home.runtime == here) {
                    self.0.push(Home { runtime: here, at: None, told: None, timer: None });
                }
                Some(here)
            }
            Where::Other(here) => here,
        };
        let mut claim = Claim::default();
        for home in &mut self.0 {
            let Some(due) = due else {
                (home.at, home.told) = (None, None);
                claim.dropped.extend(home.timer.take());
                continue;
            };
            if Some(home.runtime) != here {
                // One that has rung is about to be set again there. Once for each time: a runtime that
                // stands still sets none, and the waiters that are woken with its own look here again.
                claim.late_elsewhere |= home.tell(due);
                continue;
            }
            home.told = None;
            if !home.at.is_some_and(|at| now < at && at <= due) {
                home.at = Some(due);
                claim.dropped.extend(home.timer.take());
                claim.set = Some((home.runtime, due));
            }
        }
        claim
    }

    /// Whether waiters of this runtime were woken to set an earlier timer, and none has done so yet.
    pub(crate) fn is_told(&self, runtime: Id) -> bool {
        self.0.iter().any(|home| home.runtime == runtime && home.told.is_some())
    }

    /// Keeps a timer that was claimed, or gives it back if another claim came since.
    pub(crate) fn keep(&mut self, runtime: Id, at: Nanos, timer: Timer) -> Option<Timer> {
        let claimed = |home: &&mut Home| home.runtime == runtime && home.at == Some(at);
        match self.0.iter_mut().find(claimed) {
            Some(home) => home.timer.replace(timer),
            None => Some(timer),
        }
    }
}

impl Home {
    /// Notes that a timer is needed for `due`, and says whether that is news.
    fn tell(&mut self, due: Nanos) -> bool {
        let is_later = |at: Nanos| at > due;
        let late = self.at.is_none_or(is_later) && self.told.is_none_or(is_later);
        if late {
            self.told = Some(due);
        }
        late
    }
}
