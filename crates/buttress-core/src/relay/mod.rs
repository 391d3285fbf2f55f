use std::{
    sync::PoisonError,
    task::{Context, Poll, ready},
};

use crate::Ambient;

use self::{
    members::Members,
    state::{NextWakers, RelayState, WorkPhase},
    sync::{Mutex, MutexGuard, this_thread},
    watchdog::Watchdog,
};

mod driver;
mod members;
mod state;
mod sync;
mod wake;
mod watchdog;

pub use self::driver::{DriveEnd, Driven, Driver};
pub use self::members::MemberId;
pub use self::watchdog::WatchdogHost;

/// A piece of work that several members wait for, and that any of them may drive.
///
/// The work lies in a slot. A member that is polled while the work is woken takes the work out of
/// the slot, drives it with no lock held, and puts it back. At most one member, the *driver*, holds
/// the work at a time.
///
/// Wake-ups:
///
/// - A wake of the work ([`wake_driver`](Self::wake_driver)) wakes the last driver, or any waiting
///   member if the last driver does not wait. A *deputy* is woken too: a second member with another
///   waker, if there is such a member. So neither a dropped driver nor a driver that is alive and
///   never polled delays the others.
/// - If neither takes up the work within 10 ms, the *watchdog* wakes all other members once.
///   Members that are held and not polled, however many, delay the others by no more than that.
///   They are not chosen again before they have been polled.
/// - When the driver publishes something new, all members are woken.
///
/// The watchdog is a timer, and exists only if [`start_watchdog`](Self::start_watchdog) was called.
/// It runs on the tokio runtimes that poll the members, and is armed only while more than two
/// members wait. A runtime without a time driver has no watchdog, and neither have members polled
/// outside of any runtime.
///
/// The work runs under the [`Ambient`] values of its members: the latest deadline of the present
/// members, and the highest criticality of all members that ever joined.
#[derive(Debug)]
pub struct Relay<W> {
    // Held for a few moves only. The work, wakers and timers are foreign code: every method takes
    // them out of the state, unlocks, and only then polls, wakes or drops them.
    state: Mutex<RelayState<W>>,
}

/// The result of [`Relay::join`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// The caller is a member now.
    Member(MemberId),
    /// The last member has left and the work was dropped, or a member waited until its deadline
    /// without a result.
    Closed,
    /// The caller runs inside the work, on the same thread. Waiting for the work would never end.
    Reentrant,
}

impl<W> Relay<W> {
    /// Creates a relay for `work`, and returns the id of its first member.
    #[inline]
    pub fn new(work: W, ambient: Ambient) -> (Self, MemberId) {
        let (members, id) = Members::new(ambient);
        let state = RelayState {
            slot: Some(work),
            phase: WorkPhase::Idle,
            woken: true,
            generation: 0,
            driver: id,
            members,
            watchdog: Watchdog::default(),
        };
        (Self { state: Mutex::new(state) }, id)
    }

    /// Starts again with a new first member, after [`Driver::finish_alone`] returned
    /// [`DriveEnd::Reusable`].
    ///
    /// Returns the remains of the previous work, to be replaced by the next. `None` if the relay is
    /// not reusable.
    #[inline]
    pub fn reuse(&mut self, ambient: Ambient) -> Option<(&mut W, MemberId)> {
        // `&mut self`: the caller is the only owner, so no lock is needed.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.phase != WorkPhase::Reusable {
            return None;
        }
        state.phase = WorkPhase::Idle;
        state.woken = true;
        state.generation = 0;
        let id = state.members.reuse(ambient);
        state.driver = id;
        Some((state.slot.as_mut()?, id))
    }

    /// Joins with these ambient values.
    pub fn join(&self, ambient: Ambient) -> Join {
        self.admit(ambient, |_| true)
    }

    /// Joins, unless a member has waited until its deadline without a result.
    ///
    /// From then on the relay is closed to new members, because they would wait in vain as well.
    #[inline]
    pub fn join_in_time(&self, ambient: Ambient) -> Join {
        self.admit(ambient, |members| !members.is_closed())
    }

    #[inline]
    fn admit(&self, ambient: Ambient, is_open: impl FnOnce(&mut Members) -> bool) -> Join {
        let mut state = self.lock();
        // Only the thread that drives can be inside the work. `take` stores the thread, and
        // `put_back` clears it before another thread can drive.
        if matches!(state.phase, WorkPhase::Polling(thread) if thread == this_thread()) {
            return Join::Reentrant;
        }
        let members = &mut state.members;
        if members.is_empty() || !is_open(members) {
            return Join::Closed;
        }
        Join::Member(members.join(ambient))
    }

    /// Returns whether a member has waited until its deadline without a result.
    pub fn is_closed(&self) -> bool {
        self.lock().members.is_closed()
    }

    /// Notes that the member `id` is about to leave without a result. Call it before
    /// [`leave`](Self::leave).
    ///
    /// If the deadline of that member has passed, [`join_in_time`](Self::join_in_time) returns
    /// [`Join::Closed`] from then on.
    pub fn note_unserved(&self, id: MemberId) {
        self.lock().members.note_unserved(id);
    }

    /// Closes the relay to [`join_in_time`](Self::join_in_time).
    ///
    /// For a member that waited without a result until a deadline that is no part of its
    /// [`Ambient`] values.
    #[cold]
    pub fn close(&self) {
        self.lock().members.close();
    }

    /// Removes the member `id`, and returns whether no member is left. Then the work is
    /// dropped.
    pub fn leave(&self, id: MemberId) -> bool {
        let mut state = self.lock();
        let waker = state.members.leave(id);
        let last = state.members.is_empty();
        // In `Polling` the driver holds the work. The driver is a member itself, and drops the work
        // if it ends.
        let work = if last && state.phase == WorkPhase::Idle {
            state.phase = WorkPhase::Ended;
            state.slot.take()
        } else {
            None
        };
        // The leaving member may have been woken to drive. Its wake-up passes on to another member.
        let next_wakers = if last { NextWakers::default() } else { state.next_wakers() };
        drop(state);
        self.wake(next_wakers);
        // Last, because dropping the work may panic: by then the others have been woken.
        drop((waker, work));
        last
    }

    /// Ready once more than `known` results have been published, or once none will follow.
    ///
    /// Before the call, the member `id` looks for published results itself. Later results wake the
    /// member.
    ///
    /// `drive` runs if the work needs a driver and this member becomes the driver. The closure
    /// polls the work with a waker that calls [`wake_driver`](Self::wake_driver), and publishes the
    /// result where members find it, before returning.
    #[inline]
    pub fn poll(
        &self,
        id: MemberId,
        known: u64,
        cx: &mut Context<'_>,
        drive: impl FnOnce(&mut W, Ambient) -> Driven,
    ) -> Poll<()> {
        let Some(mut driver) = ready!(self.poll_drive(id, known, cx)) else {
            return Poll::Ready(());
        };
        let ambient = driver.ambient();
        match driver.work().map_or(Driven::Done, |work| drive(work, ambient)) {
            Driven::Pending => {
                driver.park(cx);
                return Poll::Pending;
            }
            Driven::More => driver.publish(),
            Driven::Done => drop(driver),
        }
        Poll::Ready(())
    }

    /// Does the same in two steps: a member that receives a [`Driver`] drives the work. `None`
    /// stands for a new result, or for the end.
    #[inline]
    pub fn poll_drive(
        &self,
        id: MemberId,
        known: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Driver<'_, W>>> {
        // Wakers are cloned and dropped outside of the lock, because both are foreign code. The
        // first member most often becomes the driver, and then needs no waker.
        let mut waker = if id.is_first() { None } else { Some(cx.waker().clone()) };
        loop {
            let mut state = self.lock();
            if state.is_later_than(known) {
                // Checked before `take`: a member reads all published results before it drives for
                // more.
                return Poll::Ready(None);
            }
            if let Some((work, ambient)) = state.take(id) {
                return Poll::Ready(Some(Driver {
                    relay: self,
                    work: Some(work),
                    ambient,
                    member: id,
                }));
            }
            if let Some(waker) = waker.take() {
                let old = state.wait(id, waker);
                drop(state);
                drop(old);
                return Poll::Pending;
            }
            // Only the first member gets here. If it waits with this very waker, there is nothing
            // to register.
            if state.members.is_waiting(cx.waker()) {
                return Poll::Pending;
            }
            drop(state);
            waker = Some(cx.waker().clone());
        }
    }

    /// Returns the ambient values that the work would be driven under now.
    #[inline]
    pub fn ambient(&self) -> Ambient {
        self.lock().members.ambient()
    }

    /// Returns the number of members.
    pub fn members(&self) -> usize {
        self.lock().members.len()
    }

    fn lock(&self) -> MutexGuard<'_, RelayState<W>> {
        // No code under this lock can panic, so a poisoned lock means nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
