use std::{
    collections::BTreeMap,
    task::{Poll, Waker},
};

use buttress_core::wake_all;
use buttress_state::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
    lock,
};

/// The calls of a key in the order of arrival.
///
/// The word says whether a call has the turn and whether calls wait. So a call without company takes
/// and passes the turn by a single operation on the word.
#[derive(Debug)]
pub(crate) struct SerialLane {
    /// 0, [`RUNNING`], or `RUNNING | WAITING`. `WAITING` is set and cleared under the lock of
    /// `queue` only.
    word: AtomicU32,
    queue: Mutex<Queue>,
}

#[derive(Debug)]
struct Queue {
    /// The maximum number of waiting calls.
    max: usize,
    /// The number of the next waiter.
    next: u64,
    /// The waiter that has got the turn last.
    granted: Option<u64>,
    /// The wakers of the waiting calls, in the order of arrival.
    waiting: BTreeMap<u64, Option<Waker>>,
}

/// The result of [`SerialLane::enter`].
pub(crate) enum Entered {
    Running(u64),
    Waiting(u64),
    Full,
}

impl SerialLane {
    pub(crate) fn new(max: usize) -> Self {
        let queue = Queue { max, next: 0, granted: None, waiting: BTreeMap::new() };
        Self { word: AtomicU32::new(0), queue: Mutex::new(queue) }
    }

    pub(crate) fn fresh(&self) -> Self {
        Self::new(self.max())
    }

    pub(crate) fn max(&self) -> usize {
        lock(&self.queue).max
    }

    /// Sets the maximum number of waiting calls. Those that wait stay.
    pub(crate) fn set_max(&self, max: usize) {
        lock(&self.queue).max = max;
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.word.load(Ordering::Acquire) == 0
    }

    /// Takes the turn if no call has it. All calls have the number 0, because only waiters are told
    /// apart.
    #[inline]
    pub(crate) fn begin(&self) -> Option<u64> {
        // Acquire, paired with the release in `leave`: this call sees what the former call did.
        let free = self.word.compare_exchange(0, RUNNING, Ordering::Acquire, Ordering::Relaxed);
        free.is_ok().then_some(0)
    }

    /// Takes the turn, or enters the queue behind all other calls.
    pub(crate) fn enter(&self) -> Entered {
        let mut queue = lock(&self.queue);
        let full = queue.waiting.len() >= queue.max;
        let mut word = self.word.load(Ordering::Acquire);
        // One compare-and-swap decides: a turn that ends in between makes it fail. So no call waits
        // behind a free turn, and the call that has the turn finds `WAITING` when it leaves.
        while word != RUNNING | WAITING {
            if word != 0 && full {
                break;
            }
            let next = if word == 0 { RUNNING } else { RUNNING | WAITING };
            match self.word.compare_exchange(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(0) => return Entered::Running(0),
                Ok(_) => break,
                Err(seen) => word = seen,
            }
        }
        if full {
            return Entered::Full;
        }
        let number = queue.next;
        queue.next = number.wrapping_add(1);
        queue.waiting.insert(number, None);
        Entered::Waiting(number)
    }

    /// Ends the turn, and passes it on if a call waits.
    #[inline]
    pub(crate) fn leave(&self) {
        // Without the lock: the operation fails if `WAITING` is set, so no waiter is missed.
        // Release, paired with the acquire in `begin`.
        let alone = self.word.compare_exchange(RUNNING, 0, Ordering::Release, Ordering::Relaxed);
        if alone.is_err() {
            self.pass_on();
        }
    }

    /// Gives the turn to the next waiter.
    #[cold]
    fn pass_on(&self) {
        let mut queue = lock(&self.queue);
        let next = queue.waiting.pop_first();
        queue.granted = next.as_ref().map(|(number, _)| *number);
        // Plain stores: `begin` and `leave` of other calls fail while the turn is taken, and all
        // other writers hold the lock.
        let word = match &next {
            None => 0,
            Some(_) if queue.waiting.is_empty() => RUNNING,
            Some(_) => RUNNING | WAITING,
        };
        self.word.store(word, Ordering::Release);
        drop(queue);
        // After the lock, because a waker is foreign code.
        wake_all(next.and_then(|(_, waker)| waker));
    }

    /// Ready once the waiter has the turn.
    pub(crate) fn poll(&self, number: u64, waker: &Waker) -> Poll<()> {
        let queue = lock(&self.queue);
        if queue.granted == Some(number) {
            return Poll::Ready(());
        }
        let known = |current: &Option<Waker>| {
            current.as_ref().is_some_and(|current| current.will_wake(waker))
        };
        if queue.waiting.get(&number).is_some_and(known) {
            return Poll::Pending;
        }
        drop(queue);
        // Outside the lock, because cloning a waker is foreign code.
        let waker = waker.clone();
        let mut queue = lock(&self.queue);
        let granted = queue.granted == Some(number);
        let former = match queue.waiting.get_mut(&number) {
            Some(place) => place.replace(waker),
            None => Some(waker),
        };
        drop(queue);
        // After the lock, because dropping a waker is foreign code.
        drop(former);
        if granted { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Leaves the queue. A turn that the waiter has got passes on.
    pub(crate) fn quit(&self, number: u64) {
        let mut queue = lock(&self.queue);
        if queue.granted == Some(number) {
            drop(queue);
            // The turn is this waiter's until `pass_on`, so no other call can change `granted`.
            self.pass_on();
            return;
        }
        let waker = queue.waiting.remove(&number);
        if queue.waiting.is_empty() {
            // The call that has the turn may try to leave meanwhile. It sees the flag, waits for
            // the lock and finds no waiter, or it sees no flag and takes no lock.
            self.word.fetch_and(!WAITING, Ordering::AcqRel);
        }
        drop(queue);
        drop(waker);
    }

    pub(crate) fn waiting(&self) -> usize {
        lock(&self.queue).waiting.len()
    }
}

/// A call has the turn.
const RUNNING: u32 = 1;
/// Calls wait, so the turn passes on under the lock.
const WAITING: u32 = 2;
