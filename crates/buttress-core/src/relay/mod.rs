use std::{
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use crate::{Ambient, wake_all};

use self::{
    members::Members,
    state::{NextWakers, RelayState, WorkPhase},
    sync::{Mutex, MutexGuard, this_thread},
    watchdog::{Arming, Watchdog, alarm},
};

mod driver;
mod members;
mod state;
mod sync;
mod watchdog;

pub use self::driver::{DriveEnd, Driver};
pub use self::members::MemberId;
pub use self::watchdog::WatchdogHost;

/// One piece of work that many wait for, and any of them may drive.
///
/// The work lies in a slot. Whoever is polled while it is there and has been woken takes it out,
/// drives it with no lock held, and puts it back. A wake of the work ([`ring`](Self::wake_driver)) wakes whoever
/// drove last, or anybody if that one does not wait, and a deputy with another waker, if one waits. So
/// neither a driver that is gone nor one that is alive and never polled delays the others. If neither of
/// the two takes the work up within 10 ms, all others are woken, once: members that are held and not
/// polled, however many, delay the others by no more than that, and are not chosen again before they have
/// been polled. Everybody is woken when there is something new.
///
/// For that the relay has a timer, if it is [watched](Self::start_watchdog): it runs on the tokio runtimes where the
/// members are polled, and is set only while more than two wait. On a runtime without a time driver, and
/// outside of any, there is none.
///
/// The work runs under the [`Ambient`] of its members: the latest deadline of those who are there, and the
/// highest criticality of all who ever came.
#[derive(Debug)]
pub struct Relay<W> {
    state: Mutex<RelayState<W>>,
}

/// What driving the work came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driven {
    /// Nothing new; the work will ring.
    Pending,
    /// Something new has been published, and there may be more.
    More,
    /// The last has been published. The work is dropped.
    Done,
}

/// What became of somebody who wanted to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// A member now.
    Member(MemberId),
    /// The last member has left, and the work with it, or one has waited in vain until its deadline.
    Closed,
    /// The work itself wants to wait for the work, which would be for ever.
    Reentrant,
}

impl<W> Relay<W> {
    /// The relay of `work`, and the place of its first member.
    #[inline]
    pub fn new(work: W, terms: Ambient) -> (Self, MemberId) {
        let (members, place) = Members::new(terms);
        let slot = Some(work);
        let (phase, watch) = (WorkPhase::Idle, Watchdog::default());
        let state = RelayState {
            slot,
            phase,
            woken: true,
            generation: 0,
            driver: place,
            members,
            watchdog: watch,
        };
        (Self { state: Mutex::new(state) }, place)
    }

    /// Begins again, for a new first member, after [`Driver::finish_alone`]. What was left of the work is to be
    /// filled with the next.
    #[inline]
    pub fn reuse(&mut self, terms: Ambient) -> Option<(&mut W, MemberId)> {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.phase != WorkPhase::Reusable {
            return None;
        }
        state.phase = WorkPhase::Idle;
        state.woken = true;
        state.generation = 0;
        let place = state.members.reuse(terms);
        state.driver = place;
        Some((state.slot.as_mut()?, place))
    }

    /// Joins, on these terms.
    pub fn join(&self, terms: Ambient) -> Join {
        self.admit(terms, |_| true)
    }

    /// Joins, unless a member has waited in vain until its deadline: then it is closed to those who come,
    /// who would do the same.
    #[inline]
    pub fn join_in_time(&self, terms: Ambient) -> Join {
        self.admit(terms, |members| !members.is_closed())
    }

    #[inline]
    fn admit(&self, terms: Ambient, is_open: impl FnOnce(&mut Members) -> bool) -> Join {
        let mut state = self.lock();
        if matches!(state.phase, WorkPhase::Polling(thread) if thread == this_thread()) {
            return Join::Reentrant;
        }
        let members = &mut state.members;
        if members.is_empty() || !is_open(members) {
            return Join::Closed;
        }
        Join::Member(members.join(terms))
    }

    /// Whether a member has waited in vain until its deadline.
    pub fn is_closed(&self) -> bool {
        self.lock().members.is_closed()
    }

    /// Says that the member at `place`, which is about to leave, has got nothing. If its deadline has
    /// passed, no caller [joins in time](Self::join_in_time) any more.
    pub fn note_unserved(&self, place: MemberId) {
        self.lock().members.note_unserved(place);
    }

    /// Says that a member has got nothing until a deadline of its own that is no part of its [`Ambient`]:
    /// no caller [joins in time](Self::join_in_time) any more.
    #[cold]
    pub fn close(&self) {
        self.lock().members.close();
    }

    /// Sees to it, once a third member has joined, that members which are not polled delay the others by
    /// 10 ms at most. `place` is that of the member who joined last, and `host` what the relay is a part of.
    #[inline]
    pub fn start_watchdog<H: WatchdogHost>(&self, place: MemberId, host: &Arc<H>) {
        if place.is_third() {
            self.start_watchdog_with(alarm(host));
        }
    }

    /// Leaves. Whether this was the last member: then the work has been dropped.
    pub fn leave(&self, place: MemberId) -> bool {
        let mut state = self.lock();
        let waker = state.members.leave(place);
        let last = state.members.is_empty();
        let work = if last && state.phase == WorkPhase::Idle {
            state.phase = WorkPhase::Ended;
            state.slot.take()
        } else {
            None
        };
        let next_wakers = if last { NextWakers::default() } else { state.next_wakers() };
        drop(state);
        self.wake(next_wakers);
        drop((waker, work));
        last
    }

    /// Ready when there is more news than the `known`, or there will be none. The member at `place`
    /// looks before for what has been published, and is woken for what will be.
    ///
    /// `drive` is run if the work needs somebody and this member is the one. It polls the work with a
    /// waker that [`ring`](Self::wake_driver)s, publishes what comes of it, and only then returns.
    #[inline]
    pub fn poll(
        &self,
        place: MemberId,
        known: u64,
        cx: &mut Context<'_>,
        drive: impl FnOnce(&mut W, Ambient) -> Driven,
    ) -> Poll<()> {
        let Some(mut turn) = ready!(self.poll_drive(place, known, cx)) else {
            return Poll::Ready(());
        };
        let terms = turn.ambient();
        match turn.work().map_or(Driven::Done, |work| drive(work, terms)) {
            Driven::Pending => {
                turn.park(cx);
                return Poll::Pending;
            }
            Driven::More => turn.publish(),
            Driven::Done => drop(turn),
        }
        Poll::Ready(())
    }

    /// The same in two steps: whoever gets a [`Driver`] drives the work.
    #[inline]
    pub fn poll_drive(
        &self,
        place: MemberId,
        known: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Driver<'_, W>>> {
        // ClonedErrors and dropped outside of the lock, for both are other people's code. Whoever came first
        // is the likeliest to drive, and needs none then.
        let mut waker = if place.is_first() { None } else { Some(cx.waker().clone()) };
        loop {
            let mut state = self.lock();
            if state.is_later_than(known) {
                return Poll::Ready(None);
            }
            if let Some((work, terms)) = state.take(place) {
                return Poll::Ready(Some(Driver {
                    relay: self,
                    work: Some(work),
                    ambient: terms,
                    member: place,
                }));
            }
            if let Some(waker) = waker.take() {
                let old = state.wait(place, waker);
                drop(state);
                drop(old);
                return Poll::Pending;
            }
            if state.members.is_waiting(cx.waker()) {
                return Poll::Pending;
            }
            drop(state);
            waker = Some(cx.waker().clone());
        }
    }

    /// Wakes somebody to drive the work. For the work's waker.
    pub fn wake_driver(&self) {
        let mut state = self.lock();
        if state.woken {
            return;
        }
        state.woken = true;
        if matches!(state.phase, WorkPhase::Polling(_)) {
            // Whoever drives it looks when it is put back.
            return;
        }
        let next_wakers = state.next_wakers();
        drop(state);
        self.wake(next_wakers);
    }

    /// Wakes all members if those that were woken have not taken the work up in time. For the timer.
    pub fn wake_if_stalled(&self) {
        let mut state = self.lock();
        let (all_wakers, arming) = state.wake_if_stalled();
        drop(state);
        if let Some(all_wakers) = all_wakers {
            all_wakers.wake();
        }
        if let Some(arming) = arming {
            self.arm(*arming);
        }
    }

    /// The terms the work would be driven on now.
    pub fn ambient(&self) -> Ambient {
        self.lock().members.ambient()
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.lock().members.len()
    }

    #[cold]
    fn end(&self, work: W) {
        // Also if dropping the work panics.
        let _finish = FinishOnDrop(self);
        drop(work);
    }

    /// The work is gone, and nobody needs to wait for it.
    fn finish(&self) {
        let mut state = self.lock();
        state.phase = WorkPhase::Ended;
        state.generation += 1;
        let all_wakers = state.members.take_all_wakers();
        drop(state);
        all_wakers.wake();
    }

    #[inline]
    fn wake(&self, next_wakers: NextWakers) {
        let NextWakers { wakers: [driver, deputy], arming } = next_wakers;
        // Dropped last, also if a waker panics. Otherwise no timer would ever be set again.
        let _arm_last = ArmLast(self, arming);
        if driver.is_some() || deputy.is_some() {
            wake_all(driver.into_iter().chain(deputy));
        }
    }

    #[cold]
    fn start_watchdog_with(&self, alarm: Waker) {
        let known = self.lock().watchdog.turn_on(alarm);
        drop(known);
    }

    /// Sets timers, which may fire meanwhile.
    #[cold]
    fn arm(&self, arming: Arming) {
        let timers = arming.set();
        let fired = self.lock().watchdog.armed(timers);
        if fired {
            self.wake_if_stalled();
        }
    }

    fn lock(&self) -> MutexGuard<'_, RelayState<W>> {
        // What is done under it cannot panic, so a poisoned lock means nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets timers when it is dropped.
struct ArmLast<'a, W>(&'a Relay<W>, Option<Box<Arming>>);

impl<W> Drop for ArmLast<'_, W> {
    #[inline]
    fn drop(&mut self) {
        if let Some(arming) = self.1.take() {
            self.0.arm(*arming);
        }
    }
}

struct FinishOnDrop<'a, W>(&'a Relay<W>);

impl<W> Drop for FinishOnDrop<'_, W> {
    fn drop(&mut self) {
        self.0.finish();
    }
}
