use std::{
    sync::PoisonError,
    task::{Context, Poll, Waker},
};

use self::{
    seats::Seats,
    sync::{Mutex, MutexGuard, this_thread},
};

mod seats;
mod sync;
mod terms;

pub use self::seats::Place;
pub use self::terms::Terms;

/// One piece of work that many wait for, and any of them may drive.
///
/// The work lies in a slot. Whoever is polled while it is there and has been woken takes it out,
/// drives it with no lock held, and puts it back. A wake of the work ([`ring`](Self::ring)) wakes whoever
/// drove last, or anybody if that one does not wait, and a deputy of another task, if one waits. So
/// neither a driver that is gone nor one that is alive and never polled delays the others. Everybody
/// is woken when there is something new.
///
/// The work runs under the [`Terms`] of its members: the latest deadline of those who are there, and the
/// highest criticality of all who ever came.
#[derive(Debug)]
pub struct Relay<W> {
    state: Mutex<State<W>>,
}

#[derive(Debug)]
struct State<W> {
    slot: Slot<W>,
    /// The work has been woken, or never driven, and nobody has driven it since.
    woken: bool,
    /// How many times there was something new.
    news: u64,
    driver: Place,
    seats: Seats,
}

#[derive(Debug)]
enum Slot<W> {
    In(W),
    /// Being driven, on the thread with this mark.
    Out(usize),
    /// Done, or given up.
    Empty,
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
    /// The same, and there is nobody else to be told, nor will there be.
    Last,
}

/// What became of somebody who wanted to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A member now.
    Member(Place),
    /// The last member has left, and the work with it.
    Closed,
    /// The work itself wants to wait for the work, which would be for ever.
    Inside,
}

impl<W> Relay<W> {
    /// The relay of `work`, and the place of its first member.
    #[inline]
    pub fn new(work: W, terms: Terms) -> (Self, Place) {
        let (seats, place) = Seats::new(terms);
        let state = State { slot: Slot::In(work), woken: true, news: 0, driver: place, seats };
        (Self { state: Mutex::new(state) }, place)
    }

    /// Joins, on these terms.
    pub fn enter(&self, terms: Terms) -> Entry {
        let mut state = self.lock();
        match state.slot {
            Slot::Out(thread) if thread == this_thread() => Entry::Inside,
            _ if state.seats.is_empty() => Entry::Closed,
            _ => Entry::Member(state.seats.enter(terms)),
        }
    }

    /// Leaves. Whether this was the last member: then the work has been dropped.
    pub fn leave(&self, place: Place) -> bool {
        let mut state = self.lock();
        let waker = state.seats.leave(place);
        let last = state.seats.is_empty();
        let work = match state.slot {
            Slot::In(_) if last => std::mem::replace(&mut state.slot, Slot::Empty),
            _ => Slot::Empty,
        };
        let heirs = if last { [None, None] } else { state.heirs() };
        drop(state);
        wake(heirs);
        drop((waker, work));
        last
    }

    /// Ready when there is more news than the `known`, or there will be none. The member at `place`
    /// looks before for what has been published, and is woken for what will be.
    ///
    /// `drive` is run if the work needs somebody and this member is the one. It polls the work with a
    /// waker that [`ring`](Self::ring)s, publishes what comes of it, and only then returns.
    pub fn poll(
        &self,
        place: Place,
        known: u64,
        cx: &mut Context<'_>,
        drive: impl FnOnce(&mut W, Terms) -> Drive,
    ) -> Poll<()> {
        let mut state = self.lock();
        if state.is_news(known) {
            return Poll::Ready(());
        }
        if let Some((work, terms)) = state.take(place) {
            drop(state);
            return self.drive(place, work, terms, cx, drive);
        }
        if state.seats.is_waiting(place, cx.waker()) {
            return Poll::Pending;
        }
        drop(state);
        // Cloned and dropped outside of the lock, for both are other people's code.
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if state.is_news(known) {
            return Poll::Ready(());
        }
        if let Some((work, terms)) = state.take(place) {
            drop(state);
            return self.drive(place, work, terms, cx, drive);
        }
        let old = state.seats.wait(place, waker);
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Wakes somebody to drive the work. For the work's waker.
    pub fn ring(&self) {
        let mut state = self.lock();
        if state.woken {
            return;
        }
        state.woken = true;
        let heirs = state.heirs();
        drop(state);
        wake(heirs);
    }

    /// The terms the work would be driven on now.
    pub fn terms(&self) -> Terms {
        self.lock().seats.terms()
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.lock().seats.len()
    }

    fn drive(
        &self,
        place: Place,
        work: W,
        terms: Terms,
        cx: &mut Context<'_>,
        drive: impl FnOnce(&mut W, Terms) -> Drive,
    ) -> Poll<()> {
        let mut out = Out { relay: self, work: Some(work) };
        let drive = out.work.as_mut().map_or(Drive::Done, |work| drive(work, terms));
        match drive {
            Drive::Pending => {
                let waker = cx.waker().clone();
                let mut state = self.lock();
                state.put_back(out.work.take());
                let old = state.seats.wait(place, waker);
                // Woken while it was out, when nobody could be told.
                let heirs = state.heirs();
                drop(state);
                wake(heirs);
                drop(old);
                Poll::Pending
            }
            Drive::More => {
                let mut state = self.lock();
                state.put_back(out.work.take());
                state.woken = true;
                state.news += 1;
                let everybody = state.seats.everybody();
                drop(state);
                everybody.wake();
                Poll::Ready(())
            }
            Drive::Done => {
                drop(out);
                Poll::Ready(())
            }
            Drive::Last => {
                drop(out.work.take());
                Poll::Ready(())
            }
        }
    }

    /// The work is gone, and nobody needs to wait for it.
    fn finish(&self) {
        let mut state = self.lock();
        state.slot = Slot::Empty;
        state.news += 1;
        let everybody = state.seats.everybody();
        drop(state);
        everybody.wake();
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        // What is done under it cannot panic, so a poisoned lock means nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> State<W> {
    fn is_news(&self, known: u64) -> bool {
        self.news > known || matches!(self.slot, Slot::Empty)
    }

    /// Takes the work out, if it needs somebody to drive it.
    fn take(&mut self, place: Place) -> Option<(W, Terms)> {
        if !self.woken {
            return None;
        }
        match std::mem::replace(&mut self.slot, Slot::Out(this_thread())) {
            Slot::In(work) => {
                self.woken = false;
                self.driver = place;
                Some((work, self.seats.terms()))
            }
            other => {
                self.slot = other;
                None
            }
        }
    }

    fn put_back(&mut self, work: Option<W>) {
        self.slot = work.map_or(Slot::Empty, Slot::In);
    }

    /// Who is to be woken, if the work lies there woken: the driver, and a deputy.
    fn heirs(&mut self) -> [Option<Waker>; 2] {
        match self.slot {
            Slot::In(_) if self.woken => self.seats.heirs(self.driver),
            _ => [None, None],
        }
    }
}

/// The work while it is driven. If it is not put back, because it is done or has panicked, nobody
/// waits for it any more.
struct Out<'a, W> {
    relay: &'a Relay<W>,
    work: Option<W>,
}

impl<W> Drop for Out<'_, W> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            // Also if dropping the work panics.
            let _finish = Finish(self.relay);
            drop(work);
        }
    }
}

struct Finish<'a, W>(&'a Relay<W>);

impl<W> Drop for Finish<'_, W> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

#[inline]
fn wake([driver, deputy]: [Option<Waker>; 2]) {
    if let Some(driver) = driver {
        driver.wake();
    }
    if let Some(deputy) = deputy {
        deputy.wake();
    }
}
