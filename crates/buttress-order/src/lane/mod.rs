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
        Self::Serial(SerialLane::new(queue))
    }

    /// A lane whose latest call supersedes the earlier ones.
    pub(crate) fn latest() -> Self {
        Self::Latest(LatestLane::new(false))
    }

    /// A lane whose latest call supersedes the earlier ones, and begins before they are gone.
    pub(crate) fn overlapping() -> Self {
        Self::Latest(LatestLane::new(true))
    }

    /// Takes the turn if no call has it, without a lock.
    #[inline]
    pub(crate) fn begin(self: Arc<Self>) -> Result<Turn, Arc<Self>> {
        let begun = match &*self {
            Self::Serial(lane) => lane.begin(),
            Self::Latest(lane) => lane.begin(),
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
        match &**self {
            Self::Serial(lane) => match lane.enter() {
                serial::Entered::Running(number) => Entered::Running(self.turn(number)),
                serial::Entered::Waiting(number) => Entered::Waiting(self.place(number)),
                serial::Entered::Full => Entered::Full,
            },
            Self::Latest(lane) => {
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

    /// The number of calls that wait.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Self::Serial(lane) => lane.waiting(),
            Self::Latest(lane) => lane.waiting(),
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
        match self {
            Self::Serial(lane) => Self::Serial(lane.fresh()),
            Self::Latest(lane) => Self::Latest(lane.fresh()),
        }
    }

    fn is_idle(&self) -> bool {
        match self {
            Self::Serial(lane) => lane.is_idle(),
            Self::Latest(lane) => lane.is_idle(),
        }
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
        match &*self.lane {
            Lane::Serial(_) => false,
            Lane::Latest(lane) => lane.is_superseded(self.number),
        }
    }

    /// Ready if a later call of the key has superseded this call. Otherwise that call will wake
    /// the task.
    #[inline]
    pub(crate) fn poll_superseded(&self, cx: &Context<'_>) -> Poll<()> {
        match &*self.lane {
            Lane::Serial(_) => Poll::Pending,
            Lane::Latest(lane) => lane.poll_superseded(self.number, cx.waker()),
        }
    }
}

impl Drop for Turn {
    #[inline]
    fn drop(&mut self) {
        match &*self.lane {
            Lane::Serial(lane) => lane.leave(),
            Lane::Latest(lane) => lane.leave(self.number),
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
        match &*self.lane {
            Lane::Serial(lane) => lane.poll(self.number, cx.waker()).map(|()| Wait::Granted),
            Lane::Latest(lane) => lane.poll(self.number, cx.waker()),
        }
    }

    /// Begins a call that was granted the turn. `None` if it was superseded meanwhile.
    pub(crate) fn begin(&mut self) -> Option<Turn> {
        let begun = match &*self.lane {
            Lane::Serial(_) => true,
            Lane::Latest(lane) => lane.begin_granted(self.number),
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
        match &*self.lane {
            Lane::Serial(lane) => lane.quit(self.number),
            Lane::Latest(lane) => lane.quit(self.number),
        }
    }
}
