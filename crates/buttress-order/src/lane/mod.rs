use std::{
    sync::Arc,
    task::{Context, Poll},
};

use buttress_state::Fresh;

use self::{latest::LatestLane, serial::SerialLane};

mod latest;
mod serial;

pub(crate) use self::latest::Wait;

/// The calls of a key: the call that has the turn, and the calls that wait for it.
#[derive(Debug)]
pub(crate) enum Lane {
    Own(Calls),
    /// The lane of a key beyond the maximum. Its calls are those of the other lane.
    Shared(Arc<Self>),
}

#[derive(Debug)]
pub(crate) enum Calls {
    Serial(SerialLane),
    Latest(LatestLane),
}

/// The result of [`Lane::enter`].
#[derive(Debug)]
pub(crate) enum Entered {
    Running(Turn),
    Waiting(Place),
    /// No further call may wait.
    Full,
}

impl Lane {
    /// A lane whose calls run in the order of arrival. At most `queue` calls wait.
    pub(crate) fn serial(queue: usize) -> Self {
        Self::Own(Calls::Serial(SerialLane::new(queue)))
    }

    /// A lane whose latest call supersedes the earlier ones.
    pub(crate) fn latest() -> Self {
        Self::Own(Calls::Latest(LatestLane::new(false)))
    }

    /// A lane whose latest call supersedes the earlier ones, and begins before they are gone.
    pub(crate) fn overlapping() -> Self {
        Self::Own(Calls::Latest(LatestLane::new(true)))
    }

    #[inline]
    fn calls(&self) -> &Calls {
        let mut lane = self;
        loop {
            match lane {
                Self::Own(calls) => return calls,
                Self::Shared(other) => lane = other,
            }
        }
    }

    /// Takes the turn if no call has it, without a lock.
    #[inline]
    pub(crate) fn begin(self: Arc<Self>) -> Result<Turn, Arc<Self>> {
        let begun = match self.calls() {
            Calls::Serial(lane) => lane.begin(),
            Calls::Latest(lane) => lane.begin(),
        };
        match begun {
            Some(number) => Ok(Turn { lane: self, number }),
            None => Err(self),
        }
    }

    /// Takes the turn, or a place among the calls that wait.
    ///
    /// # Panics
    ///
    /// If the waker of a superseded call panics. The new call has then left again.
    #[cold]
    pub(crate) fn enter(self: &Arc<Self>) -> Entered {
        match self.calls() {
            Calls::Serial(lane) => match lane.enter() {
                serial::Entered::Running(number) => Entered::Running(self.turn(number)),
                serial::Entered::Waiting(number) => Entered::Waiting(self.place(number)),
                serial::Entered::Full => Entered::Full,
            },
            Calls::Latest(lane) => {
                let entered = lane.enter();
                // Must exist before the wakers run: if one panics, the call leaves the lane.
                let result = if entered.begins {
                    Entered::Running(self.turn(entered.number))
                } else {
                    Entered::Waiting(self.place(entered.number))
                };
                entered.wake();
                result
            }
        }
    }

    /// The number of calls that wait. 0 for a key beyond the maximum.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Self::Own(Calls::Serial(lane)) => lane.waiting(),
            Self::Own(Calls::Latest(lane)) => lane.waiting(),
            Self::Shared(_) => 0,
        }
    }

    /// The maximum number of calls that wait. `None` if the latest call wins.
    pub(crate) fn max_waiting(&self) -> Option<usize> {
        match self.calls() {
            Calls::Serial(lane) => Some(lane.max()),
            Calls::Latest(_) => None,
        }
    }

    /// Sets the maximum number of calls that wait. Changes nothing if the latest call wins.
    pub(crate) fn set_max_waiting(&self, max: usize) {
        if let Calls::Serial(lane) = self.calls() {
            lane.set_max(max);
        }
    }

    fn turn(self: &Arc<Self>, number: u64) -> Turn {
        Turn { lane: Arc::clone(self), number }
    }

    fn place(self: &Arc<Self>, number: u64) -> Place {
        Place { lane: Arc::clone(self), number, left: false }
    }
}

impl Fresh for Lane {
    fn fresh(&self) -> Self {
        Self::Own(match self.calls() {
            Calls::Serial(lane) => Calls::Serial(lane.fresh()),
            Calls::Latest(lane) => Calls::Latest(lane.fresh()),
        })
    }

    fn is_idle(&self) -> bool {
        match self {
            Self::Own(Calls::Serial(lane)) => lane.is_idle(),
            Self::Own(Calls::Latest(lane)) => lane.is_idle(),
            // In use only while a turn or a place holds the lane.
            Self::Shared(_) => true,
        }
    }

    fn share(shared: &Arc<Self>) -> Option<Self> {
        Some(Self::Shared(Arc::clone(shared)))
    }
}

/// The turn of a key. Dropping it passes the turn on.
///
/// With [`overlapping`](Lane::overlapping) several calls have a turn, of which all but the latest
/// are superseded.
#[derive(Debug)]
pub(crate) struct Turn {
    lane: Arc<Lane>,
    number: u64,
}

impl Turn {
    /// Whether a later call of the key has superseded this call.
    #[inline]
    pub(crate) fn is_superseded(&self) -> bool {
        match self.lane.calls() {
            Calls::Serial(_) => false,
            Calls::Latest(lane) => lane.is_superseded(self.number),
        }
    }

    /// Ready if a later call of the key has superseded this call. Otherwise that call will wake
    /// the task.
    #[inline]
    pub(crate) fn poll_superseded(&self, cx: &Context<'_>) -> Poll<()> {
        match self.lane.calls() {
            Calls::Serial(_) => Poll::Pending,
            Calls::Latest(lane) => lane.poll_superseded(self.number, cx.waker()),
        }
    }
}

impl Drop for Turn {
    #[inline]
    fn drop(&mut self) {
        match self.lane.calls() {
            Calls::Serial(lane) => lane.leave(),
            Calls::Latest(lane) => lane.leave(self.number),
        }
    }
}

/// A place among the calls that wait. Dropping it leaves the lane, and passes a granted turn on.
#[derive(Debug)]
pub(crate) struct Place {
    lane: Arc<Lane>,
    number: u64,
    /// The place has become a [`Turn`], which now leaves the lane.
    left: bool,
}

impl Place {
    /// Ready if the call has the turn or is superseded. Otherwise the task will be woken.
    ///
    /// A call that has the turn and has not [begun](Self::begin) is woken too when it is superseded.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Wait> {
        match self.lane.calls() {
            Calls::Serial(lane) => lane.poll(self.number, cx.waker()).map(|()| Wait::Granted),
            Calls::Latest(lane) => lane.poll(self.number, cx.waker()),
        }
    }

    /// Begins a call that was granted the turn. `None` if it was superseded meanwhile.
    pub(crate) fn begin(&mut self) -> Option<Turn> {
        let begun = match self.lane.calls() {
            Calls::Serial(_) => true,
            Calls::Latest(lane) => lane.begin_granted(self.number),
        };
        // A turn leaves the lane in place of this value.
        self.left = begun;
        begun.then(|| self.lane.turn(self.number))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        match self.lane.calls() {
            Calls::Serial(lane) => lane.quit(self.number),
            Calls::Latest(lane) => lane.quit(self.number),
        }
    }
}
