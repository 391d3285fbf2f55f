use std::{
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use crate::{Terms, wake_all};

use self::{
    members::Members,
    state::{NextWakers, RelayState, WorkPhase},
    sync::{Mutex, MutexGuard, this_thread},
    watch::{Arming, Watch, alarm},
};

mod driver;
mod members;
mod state;
mod sync;
mod watch;

pub use self::driver::{End, Turn};
pub use self::members::Place;
pub use self::watch::Rouse;

/// One piece of work that many wait for, and any of them may drive.
///
/// The work lies in a slot. Whoever is polled while it is there and has been woken takes it out,
/// drives it with no lock held, and puts it back. A wake of the work ([`ring`](Self::ring)) wakes whoever
/// drove last, or anybody if that one does not wait, and a deputy with another waker, if one waits. So
/// neither a driver that is gone nor one that is alive and never polled delays the others. If neither of
/// the two takes the work up within 10 ms, all others are woken, once: members that are held and not
/// polled, however many, delay the others by no more than that, and are not chosen again before they have
/// been polled. Everybody is woken when there is something new.
///
/// For that the relay has a timer, if it is [watched](Self::watch): it runs on the tokio runtimes where the
/// members are polled, and is set only while more than two wait. On a runtime without a time driver, and
/// outside of any, there is none.
///
/// The work runs under the [`Terms`] of its members: the latest deadline of those who are there, and the
/// highest criticality of all who ever came.
#[derive(Debug)]
pub struct Relay<W> {
    state: Mutex<RelayState<W>>,
}

/// What driving the work came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// Nothing new; the work will ring.
    Pending,
    /// Something new has been published, and there may be more.
    More,
    /// The last has been published. The work is dropped.
    Done,
}

/// What became of somebody who wanted to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A member now.
    Member(Place),
    /// The last member has left, and the work with it, or one has waited in vain until its deadline.
    Closed,
    /// The work itself wants to wait for the work, which would be for ever.
    Inside,
}

impl<W> Relay<W> {
    /// The relay of `work`, and the place of its first member.
    #[inline]
    pub fn new(work: W, terms: Terms) -> (Self, Place) {
        let (members, place) = Members::new(terms);
        let slot = Some(work);
        let (phase, watch) = (WorkPhase::Idle, Watch::default());
        let state =
            RelayState { slot, phase, woken: true, generation: 0, driver: place, members, watch };
        (Self { state: Mutex::new(state) }, place)
    }

    /// Begins again, for a new first member, after [`Turn::end`]. What was left of the work is to be
    /// filled with the next.
    #[inline]
    pub fn renew(&mut self, terms: Terms) -> Option<(&mut W, Place)> {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.phase != WorkPhase::Reusable {
            return None;
        }
        state.phase = WorkPhase::Idle;
        state.woken = true;
        state.generation = 0;
        let place = state.members.renew(terms);
        state.driver = place;
        Some((state.slot.as_mut()?, place))
    }

    /// Joins, on these terms.
    pub fn enter(&self, terms: Terms) -> Entry {
        self.admit(terms, |_| true)
    }

    /// Joins, unless a member has waited in vain until its deadline: then it is closed to those who come,
    /// who would do the same.
    #[inline]
    pub fn enter_in_time(&self, terms: Terms) -> Entry {
        self.admit(terms, |members| !members.is_spent())
    }

    #[inline]
    fn admit(&self, terms: Terms, is_open: impl FnOnce(&mut Members) -> bool) -> Entry {
        let mut state = self.lock();
        if matches!(state.phase, WorkPhase::Polling(thread) if thread == this_thread()) {
            return Entry::Inside;
        }
        let members = &mut state.members;
        if members.is_empty() || !is_open(members) {
            return Entry::Closed;
        }
        Entry::Member(members.enter(terms))
    }

    /// Whether a member has waited in vain until its deadline.
    pub fn is_spent(&self) -> bool {
        self.lock().members.is_spent()
    }

    /// Says that the member at `place`, which is about to leave, has got nothing. If its deadline has
    /// passed, no caller [joins in time](Self::enter_in_time) any more.
    pub fn give_up(&self, place: Place) {
        self.lock().members.give_up(place);
    }

    /// Says that a member has got nothing until a deadline of its own that is no part of its [`Terms`]:
    /// no caller [joins in time](Self::enter_in_time) any more.
    #[cold]
    pub fn spend(&self) {
        self.lock().members.spend();
    }

    /// Sees to it, once a third member has joined, that members which are not polled delay the others by
    /// 10 ms at most. `place` is that of the member who joined last, and `host` what the relay is a part of.
    #[inline]
    pub fn watch<H: Rouse>(&self, place: Place, host: &Arc<H>) {
        if place.is_third() {
            self.turn_on(alarm(host));
        }
    }

    /// Leaves. Whether this was the last member: then the work has been dropped.
    pub fn leave(&self, place: Place) -> bool {
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
    /// waker that [`ring`](Self::ring)s, publishes what comes of it, and only then returns.
    #[inline]
    pub fn poll(
        &self,
        place: Place,
        known: u64,
        cx: &mut Context<'_>,
        drive: impl FnOnce(&mut W, Terms) -> Drive,
    ) -> Poll<()> {
        let Some(mut turn) = ready!(self.turn(place, known, cx)) else { return Poll::Ready(()) };
        let terms = turn.terms();
        match turn.work().map_or(Drive::Done, |work| drive(work, terms)) {
            Drive::Pending => {
                turn.wait(cx);
                return Poll::Pending;
            }
            Drive::More => turn.tell(),
            Drive::Done => drop(turn),
        }
        Poll::Ready(())
    }

    /// The same in two steps: whoever gets a [`Turn`] drives the work.
    #[inline]
    pub fn turn(
        &self,
        place: Place,
        known: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Turn<'_, W>>> {
        // Cloned and dropped outside of the lock, for both are other people's code. Whoever came first
        // is the likeliest to drive, and needs none then.
        let mut waker = if place.is_first() { None } else { Some(cx.waker().clone()) };
        loop {
            let mut state = self.lock();
            if state.is_later_than(known) {
                return Poll::Ready(None);
            }
            if let Some((work, terms)) = state.take(place) {
                return Poll::Ready(Some(Turn { relay: self, work: Some(work), terms, place }));
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
    pub fn ring(&self) {
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
    pub fn rouse(&self) {
        let mut state = self.lock();
        let (all_wakers, arming) = state.rouse();
        drop(state);
        if let Some(all_wakers) = all_wakers {
            all_wakers.wake();
        }
        if let Some(arming) = arming {
            self.arm(*arming);
        }
    }

    /// The terms the work would be driven on now.
    pub fn terms(&self) -> Terms {
        self.lock().members.terms()
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
    fn turn_on(&self, alarm: Waker) {
        let known = self.lock().watch.turn_on(alarm);
        drop(known);
    }

    /// Sets timers, which may fire meanwhile.
    #[cold]
    fn arm(&self, arming: Arming) {
        let timers = arming.set();
        let fired = self.lock().watch.armed(timers);
        if fired {
            self.rouse();
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
