use std::task::{Poll, Waker};

use buttress_core::wake_all;
use buttress_state::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
    lock,
};

/// The calls of a key, of which the latest supersedes all others.
///
/// Each call has a number. A call is superseded once the word holds a higher number. So at most one
/// call waits, the latest, and the others need no list.
#[derive(Debug)]
pub(crate) struct LatestLane {
    /// The number of the latest call, and the flags. A number changes under the lock of `wakers`,
    /// except if no call has the turn. `WAITING` and `WATCHED` change under the lock only.
    word: AtomicU64,
    overlapping: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The waker of the latest call while it runs.
    running: Option<Waker>,
    /// The waker of the latest call while it waits, or has the turn and has not begun.
    waiting: Option<Waker>,
    /// The latest call has the turn, and has not begun.
    granted: bool,
}

/// The end of a wait, or its continuation with the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The call has the turn, and has not begun.
    Granted,
    Superseded,
}

/// The result of [`LatestLane::enter`].
pub(crate) struct Entered {
    pub(crate) number: u64,
    pub(crate) begins: bool,
    superseded: [Option<Waker>; 2],
}

impl Entered {
    /// Wakes the superseded calls. Hold no lock.
    pub(crate) fn wake(self) {
        wake_all(self.superseded.into_iter().flatten());
    }
}

impl LatestLane {
    pub(crate) fn new(overlapping: bool) -> Self {
        let state = State { running: None, waiting: None, granted: false };
        Self { word: AtomicU64::new(0), overlapping, state: Mutex::new(state) }
    }

    pub(crate) fn fresh(&self) -> Self {
        Self::new(self.overlapping)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.word.load(Ordering::Acquire) & RUNNING == 0
    }

    /// Takes the turn if no call has it, and returns the number of the call.
    #[inline]
    pub(crate) fn begin(&self) -> Option<u64> {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & RUNNING == 0 {
            // Acquire, paired with the release in `leave`: this call sees what the former call did.
            let next = following(word) | RUNNING;
            match self.word.compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return Some(number(next)),
                Err(seen) => word = seen,
            }
        }
        None
    }

    /// Supersedes all other calls. The call begins at once if no call runs or calls may overlap.
    pub(crate) fn enter(&self) -> Entered {
        let mut state = lock(&self.state);
        let mut word = self.word.load(Ordering::Acquire);
        let (next, begins) = loop {
            // A call that has the turn and has not begun loses the turn. Otherwise a call that is
            // not polled could delay this call.
            let begins = self.overlapping || word & RUNNING == 0 || state.granted;
            let next = following(word) | RUNNING | if begins { 0 } else { WAITING };
            // The running call may end meanwhile without the lock. The operation then fails, and
            // the next round takes the free turn.
            match self.word.compare_exchange(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break (next, begins),
                Err(seen) => word = seen,
            }
        };
        state.granted = false;
        // Under the same lock as the new number: a call that registers its waker later sees the
        // number first.
        let superseded = [state.running.take(), state.waiting.take()];
        drop(state);
        Entered { number: number(next), begins, superseded }
    }

    #[inline]
    pub(crate) fn is_superseded(&self, own: u64) -> bool {
        number(self.word.load(Ordering::Acquire)) != own
    }

    /// Ready if the running call is superseded. Otherwise `waker` will be woken then.
    pub(crate) fn poll_superseded(&self, own: u64, waker: &Waker) -> Poll<()> {
        // Without the lock at the first poll, because no waker is registered before the flag is set.
        if self.word.load(Ordering::Acquire) & WATCHED != 0 {
            let state = lock(&self.state);
            if self.is_superseded(own) {
                return Poll::Ready(());
            }
            if state.running.as_ref().is_some_and(|current| current.will_wake(waker)) {
                return Poll::Pending;
            }
        }
        // Outside the lock, because cloning a waker is foreign code.
        let waker = waker.clone();
        let mut state = lock(&self.state);
        if self.is_superseded(own) {
            // `waker` must not replace that of a later call. It is dropped after the lock.
            drop(state);
            return Poll::Ready(());
        }
        let former = state.running.replace(waker);
        // From now on `leave` takes the lock, and drops the waker.
        self.word.fetch_or(WATCHED, Ordering::AcqRel);
        drop(state);
        drop(former);
        Poll::Pending
    }

    /// Ends the turn of a call, and passes it on if the latest call waits.
    #[inline]
    pub(crate) fn leave(&self, own: u64) {
        let running = own << FLAG_BITS | RUNNING;
        let free = own << FLAG_BITS;
        // Without the lock: the operation fails if a later call came or a waker is registered.
        // Release, paired with the acquire in `begin`.
        let alone = self.word.compare_exchange(running, free, Ordering::Release, Ordering::Relaxed);
        if alone.is_err() {
            self.leave_watched(own);
        }
    }

    #[cold]
    fn leave_watched(&self, own: u64) {
        let mut state = lock(&self.state);
        let word = self.word.load(Ordering::Acquire);
        let latest = number(word) == own;
        let (mut former, mut next) = (None, None);
        // Plain stores: `begin` and `leave` of other calls fail while the turn is taken and the
        // numbers differ, and all other writers hold the lock.
        if latest {
            self.word.store(word & !FLAGS, Ordering::Release);
            former = state.running.take();
        } else if self.overlapping {
            // The turn is the latest call's already.
        } else if word & WAITING != 0 {
            self.word.store(word & !WAITING, Ordering::Release);
            state.granted = true;
            next = state.waiting.take();
        } else {
            // The call that superseded this one has left while it waited.
            self.word.store(word & !FLAGS, Ordering::Release);
        }
        drop(state);
        // After the lock, because wakers are foreign code.
        drop(former);
        wake_all(next);
    }

    /// Ready if the waiting call has the turn or is superseded. In both cases and otherwise `waker`
    /// will be woken by the next change.
    pub(crate) fn poll(&self, own: u64, waker: &Waker) -> Poll<Wait> {
        let state = lock(&self.state);
        let known = state.waiting.as_ref().is_some_and(|current| current.will_wake(waker));
        if known || self.is_superseded(own) {
            return self.wait(own, &state);
        }
        drop(state);
        // Outside the lock, because cloning a waker is foreign code.
        let waker = waker.clone();
        let mut state = lock(&self.state);
        let former = if self.is_superseded(own) {
            // `waker` must not replace that of a later call.
            Some(waker)
        } else {
            state.waiting.replace(waker)
        };
        let wait = self.wait(own, &state);
        drop(state);
        drop(former);
        wait
    }

    fn wait(&self, own: u64, state: &State) -> Poll<Wait> {
        if self.is_superseded(own) {
            Poll::Ready(Wait::Superseded)
        } else if state.granted {
            Poll::Ready(Wait::Granted)
        } else {
            Poll::Pending
        }
    }

    /// Begins the latest call, which has the turn. Returns whether it is still the latest.
    pub(crate) fn begin_granted(&self, own: u64) -> bool {
        let mut state = lock(&self.state);
        if self.is_superseded(own) {
            return false;
        }
        let begins = std::mem::take(&mut state.granted);
        let former = state.waiting.take();
        drop(state);
        drop(former);
        begins
    }

    /// Leaves the lane before the call has begun. A turn that the call has got is free again.
    pub(crate) fn quit(&self, own: u64) {
        let mut state = lock(&self.state);
        if self.is_superseded(own) {
            return;
        }
        // The calls that this call superseded stay superseded.
        let granted = std::mem::take(&mut state.granted);
        let flags = if granted { FLAGS } else { WAITING };
        self.word.fetch_and(!flags, Ordering::AcqRel);
        let former = state.waiting.take();
        drop(state);
        drop(former);
    }

    pub(crate) fn waiting(&self) -> usize {
        usize::from(self.word.load(Ordering::Acquire) & WAITING != 0)
    }
}

#[inline]
const fn number(word: u64) -> u64 {
    word >> FLAG_BITS
}

/// The word with the next number and no flags.
#[inline]
const fn following(word: u64) -> u64 {
    (word | FLAGS).wrapping_add(1)
}

const FLAG_BITS: u32 = 3;
const FLAGS: u64 = (1 << FLAG_BITS) - 1;
/// A call has the turn.
const RUNNING: u64 = 1;
/// The latest call waits for the turn.
const WAITING: u64 = 2;
/// The waker of the latest call is registered while it runs.
const WATCHED: u64 = 4;
