use buttress_control::Nanos;
use buttress_core::Timer;
use tokio::runtime::Id;

/// The timers that wake a queue when the first waiter's cells are there: one per runtime in which a
/// waiter was polled, nearly always one.
///
/// A timer wakes the queue and not a waiter, so no call depends on another call being polled. A
/// runtime that stands still or ends takes its timer with it. The waiters of other runtimes have
/// timers of their own. No timer is set in a runtime without waiters, which may have no time
/// driver, or end at any time.
///
/// The lock of the queue's waiters protects this list, so that a timer is dropped only for what the
/// queue is now. Timers are set and dropped without that lock.
#[derive(Debug, Default)]
pub(crate) struct Alarms(Vec<Home>);

/// A runtime in which a waiter was polled.
#[derive(Debug)]
struct Home {
    runtime: Id,
    /// When its timer fires, or has fired.
    at: Option<Nanos>,
    /// The time for which its waiters were last woken to set an earlier timer. `None` once a waiter
    /// has looked.
    told: Option<Nanos>,
    /// `None` also while the timer is being set.
    timer: Option<Timer>,
}

/// The place in which a queue is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Where {
    /// A waiter's poll, within this runtime.
    Poll(Id),
    /// Anywhere else, within this runtime or none.
    Other(Option<Id>),
}

/// The timers to set and drop after a look at the queue.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    /// The timer to set.
    pub(crate) set: Option<(Id, Nanos)>,
    /// Whether waiters in other runtimes have no timer that is early enough, and must be woken to
    /// set one.
    pub(crate) late_elsewhere: bool,
    /// Timers to drop.
    pub(crate) dropped: Vec<Timer>,
}

impl Alarms {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Makes sure that a timer fires when `due`. If nothing is due, no timer is needed.
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
                // The caller drops the timers after the lock.
                (home.at, home.told) = (None, None);
                claim.dropped.extend(home.timer.take());
                continue;
            };
            if Some(home.runtime) != here {
                // A timer that has fired there is about to be set again. Wake the waiters once per
                // due time only: a runtime that stands still never sets a timer, and the waiters
                // that are woken together with its own look here again.
                claim.late_elsewhere |= home.tell(due);
                continue;
            }
            home.told = None;
            // A timer that fires later than now and at most at `due` serves: it looks at the queue
            // and claims the next timer. A timer whose time has come counts as fired.
            if !home.at.is_some_and(|at| now < at && at <= due) {
                // Noted before the timer is set: a concurrent claim for the same or a later time
                // then sets none, and `keep` finds out if an earlier one came.
                home.at = Some(due);
                claim.dropped.extend(home.timer.take());
                claim.set = Some((home.runtime, due));
            }
        }
        claim
    }

    /// Whether waiters were polled in this place.
    pub(crate) fn is_home(&self, place: Where) -> bool {
        let (Where::Poll(runtime) | Where::Other(Some(runtime))) = place else { return false };
        self.0.iter().any(|home| home.runtime == runtime)
    }

    /// Whether waiters of this runtime were woken to set an earlier timer, and none has looked
    /// since.
    pub(crate) fn is_told(&self, runtime: Id) -> bool {
        self.0.iter().any(|home| home.runtime == runtime && home.told.is_some())
    }

    /// Stores a claimed timer. Returns the timer that is not needed: the former, or this one if a
    /// later claim came.
    pub(crate) fn keep(&mut self, runtime: Id, at: Nanos, timer: Timer) -> Option<Timer> {
        let claimed = |home: &&mut Home| home.runtime == runtime && home.at == Some(at);
        match self.0.iter_mut().find(claimed) {
            Some(home) => home.timer.replace(timer),
            None => Some(timer),
        }
    }
}

impl Home {
    /// Notes that a timer is needed for `due`, and returns whether the waiters must be woken for
    /// it.
    fn tell(&mut self, due: Nanos) -> bool {
        let is_later = |at: Nanos| at > due;
        let late = self.at.is_none_or(is_later) && self.told.is_none_or(is_later);
        if late {
            self.told = Some(due);
        }
        late
    }
}
