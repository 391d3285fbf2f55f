use std::{
    fmt, mem,
    sync::{Arc, OnceLock},
    task::{Poll, Waker},
};

use buttress_control::Nanos;
use buttress_core::{Criticality, Deadline, Timers};
use tokio::{runtime::Handle, time::Instant};

use self::{
    alarms::Where,
    priority_list::{Slot, Stage},
    queued::Until,
    wait_queue::Line,
    wake_list::Woken,
};
use crate::{
    limit::{Admission, Ask, Epoch, Options, Refusal, Why},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        lock,
    },
};

mod alarms;
mod grant_waiters;
mod priority_list;
mod queued;
mod supply;
mod wait_estimate;
mod wait_queue;
mod wake_list;

pub(crate) use self::{
    priority_list::Entry,
    queued::Place,
    supply::{Later, Supply},
};

/// A supply of permits or cells, and a line of the calls that wait for it.
///
/// While no call waits, a call takes from the supply without the lock. The first call that has to wait
/// marks the supply. From then on the line takes for its first waiter, under the lock, so that no later
/// call takes what is due to an earlier one. Nothing is taken ahead of time, so a waiter that leaves
/// costs the others nothing.
pub struct Queue<S, G> {
    pub(crate) supply: S,
    pub(crate) epoch: Epoch,
    /// That of the line's options, to be read without the lock.
    bound: AtomicUsize,
    pub(crate) line: Mutex<Line<G>>,
    pub(crate) timers: Arc<Clocks>,
    /// Wakes the line.
    pub(crate) alarm: OnceLock<Waker>,
}

/// The timers of a layer's queues.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    /// For the calls whose waits end at some time.
    pub(crate) waits: Timers,
    /// For the lines, apart because they come soon and would be far out of the others' order.
    pub(crate) alarms: Timers,
}

impl<S: Supply> Queue<S, S::Grant> {
    pub(crate) fn new(supply: S) -> Self {
        Self::over(supply, Line::new(), Arc::default())
    }

    /// An empty queue with the same options.
    pub(crate) fn fresh(&self, supply: S) -> Self {
        let line = lock(&self.line).fresh();
        Self::over(supply, line, Arc::clone(&self.timers))
    }

    fn over(supply: S, line: Line<S::Grant>, timers: Arc<Clocks>) -> Self {
        let (bound, line) = (AtomicUsize::new(line.options.bound), Mutex::new(line));
        Self { supply, epoch: Epoch::new(), bound, line, timers, alarm: OnceLock::new() }
    }

    /// Lets a call through that found nothing to take, puts it in line, or refuses it.
    #[cold]
    pub(crate) fn enter(
        self: &Arc<Self>,
        cells: u32,
        ask: &Ask<'_>,
    ) -> Admission<S::Permit, Place<S>> {
        let mut woken = Woken::default();
        let admission = match self.line_up(cells, ask.criticality, &mut woken) {
            Ok(Entered::Admitted(grant)) => {
                Admission::Admitted(S::permit(self, grant, ask.criticality, ask.settings))
            }
            Ok(Entered::Waiting(slot, until)) => {
                let queue = Arc::clone(self);
                Admission::Waiting(Place::new(queue, slot, until, ask.criticality, cells))
            }
            Err(refusal) => Admission::Refused(refusal),
        };
        // When the place has an owner: a waker that panics leaves none behind.
        drop(woken);
        admission
    }

    /// Lines up, unless there is something to take meanwhile.
    fn line_up(
        &self,
        cells: u32,
        criticality: Criticality,
        woken: &mut Woken,
    ) -> Result<Entered<S::Grant>, Refusal> {
        let instant = Instant::now();
        let now = self.epoch.at(instant);
        let mut line = lock(&self.line);
        // The waiters first, who may not have been looked after since something came.
        self.settle(&mut line, now, woken);
        let entry = Entry { since: now, cells };
        let ahead = line.ahead(now, criticality);
        let taken = match ahead {
            _ if line.is_empty() => self.supply.take_or_mark(now, cells),
            // It goes before all that wait. If it need not wait itself, it must take none of their places.
            0 => self.supply.take_for_line(now, entry).ok(),
            _ => None,
        };
        if let Some(grant) = taken {
            self.unmark_if_empty(&mut line, now);
            return Ok(Entered::Admitted(grant));
        }
        let until = Until::earliest(instant, line.options.max_wait, Deadline::current());
        let wait = self.supply.expected_wait(now, ahead, cells, line.mean());
        let entered = match (&until, wait) {
            (Some(until), _) if until.has_passed(instant) => {
                Err(self.refusal_at(until, now, ahead, cells))
            }
            (Some(until), Some(wait)) if until.is_before(instant, wait) => {
                Err(self.supply.refusal(now, Why::ExpectedWait, ahead, cells))
            }
            _ => match line.push(entry, criticality, woken) {
                Ok(slot) => Ok(Entered::Waiting(slot, until)),
                Err(why) => Err(self.supply.refusal(now, why, ahead, cells)),
            },
        };
        self.unmark_if_empty(&mut line, now);
        entered
    }

    /// Gives what there is to the waiters, and says when there will be more for the next one.
    pub(crate) fn settle(
        &self,
        line: &mut Line<S::Grant>,
        now: Nanos,
        woken: &mut Woken,
    ) -> Option<Nanos> {
        // Taken for a waiter that was shed then, for as many cells.
        let mut left: Option<(u32, S::Grant)> = None;
        loop {
            let Some((slot, entry)) = line.next(now) else {
                left.map(|(_, grant)| self.supply.give_back(now, grant));
                return None;
            };
            let taken = match left.take() {
                Some((cells, grant)) if cells == entry.cells => Ok(grant),
                other => {
                    other.map(|(_, grant)| self.supply.give_back(now, grant));
                    self.supply.take_for_line(now, entry)
                }
            };
            match taken {
                Ok(grant) => {
                    let shed = line.grant((slot, entry), grant, now, woken);
                    left = shed.map(|grant| (entry.cells, grant));
                }
                Err(Later::At(due)) => {
                    return Some(line.turns(now, entry).map_or(due, |turns| turns.min(due)));
                }
                Err(Later::Unknown) => return None,
                Err(Later::Never) => line.refuse(slot, Why::Weight, woken),
            }
        }
    }

    /// Gives a permit or cells back that a call had taken.
    pub(crate) fn take_back(self: &Arc<Self>, grant: S::Grant) {
        let line = lock(&self.line);
        // Under the lock: a call that lines up meanwhile finds what is given back, or is found below.
        let waits = self.supply.give_back(self.now(), grant);
        drop(line);
        if waits {
            self.hand_over();
        }
    }

    /// Ready when the wait is over; otherwise `waker` is the one to be woken.
    pub(crate) fn poll(self: &Arc<Self>, slot: Slot, waker: &Waker) -> Poll<()> {
        let mut home = None;
        if S::TIMED && !lock(&self.line).is_over(slot) {
            if cfg!(buttress_loom) {
                self.hand_over();
            } else {
                // A call that waits must be polled within a runtime, as tokio's timers must.
                let runtime = Handle::current().id();
                self.look(Where::Poll(runtime));
                home = Some(runtime);
            }
        }
        if let Some(seen) = lock(&self.line).look(slot, waker) {
            return seen;
        }
        let waker = waker.clone();
        let mut line = lock(&self.line);
        let former = line.watch(slot, waker);
        let over = line.is_over(slot);
        // Told after the look, when this call had left no waker.
        let told = home.filter(|runtime| line.alarms.is_told(*runtime));
        drop(line);
        // After the lock. If the wait is over meanwhile, this is the new one.
        drop(former);
        if let Some(runtime) = told {
            self.look(Where::Poll(runtime));
        }
        if over { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Gives a place up, and says what had become of it.
    pub(crate) fn leave(self: &Arc<Self>, slot: Slot) -> Option<Stage<S::Grant>> {
        let mut line = lock(&self.line);
        let stage = line.remove(slot);
        self.unmark_if_empty(&mut line, self.now());
        let alarms = line.is_empty().then(|| mem::take(&mut line.alarms));
        drop(line);
        if S::TIMED && alarms.is_none() && matches!(stage, Some(Stage::Waiting(_))) {
            // The next may wait for less than the one that leaves.
            self.hand_over();
        }
        stage
    }

    /// What a call is told that has waited until its time was up.
    pub(crate) fn refusal_at(&self, until: &Until, now: Nanos, ahead: u64, cells: u32) -> Refusal {
        match until.why {
            Why::Deadline => Refusal::at(until.deadline),
            why => self.supply.refusal(now, why, ahead, cells),
        }
    }

    /// How many cells go to others before a call that comes now.
    pub(crate) fn ahead(&self, now: Nanos, criticality: Criticality) -> u64 {
        lock(&self.line).ahead(now, criticality)
    }

    /// Lets calls take without the lock again, once none waits.
    pub(crate) fn unmark_if_empty(&self, line: &mut Line<S::Grant>, now: Nanos) {
        if line.is_empty() && self.supply.unmark() {
            line.forget(now);
        }
    }

    /// The timers for the ends of waits.
    pub(crate) fn waits(&self) -> &Timers {
        &self.timers.waits
    }

    /// How many calls may wait.
    #[inline]
    pub(crate) fn bound(&self) -> usize {
        self.bound.load(Ordering::Relaxed)
    }

    /// Whether no call waits, and none may.
    #[inline]
    pub(crate) fn is_off(&self) -> bool {
        self.bound() == 0 && !self.supply.is_marked()
    }

    /// How many calls wait.
    pub(crate) fn len(&self) -> usize {
        lock(&self.line).len()
    }

    /// Changes the line's options.
    pub(crate) fn change(&self, f: impl Fn(&mut Options)) {
        let mut line = lock(&self.line);
        f(&mut line.options);
        self.bound.store(line.options.bound, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        self.epoch.now()
    }
}

impl<S, G> fmt::Debug for Queue<S, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

enum Entered<G> {
    Admitted(G),
    Waiting(Slot, Option<Until>),
}
