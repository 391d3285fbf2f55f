use std::{
    hash::Hash,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::Wake,
};

use buttress_core::{Attempt, Deadline, Entry, Place, Progress, Relay, Rouse, Terms};

use self::membership::Aboard;
use crate::{
    cache::Version,
    settings::{Ticket, revoke},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
        lock,
    },
};

mod drive;
mod membership;
mod shard;
mod table;

pub use self::membership::Seat;
pub(crate) use self::{
    drive::{Flown, Run},
    membership::Member,
    table::{Flights, Joined},
};

/// One call of the service, for everybody who asks for the same while it lasts.
///
/// It belongs to none of them: its work lies in the relay, and runs under the flight's own ambient
/// values.
pub(crate) struct Flight<K, W, A> {
    relay: Relay<Home<W>>,
    answer: OnceLock<A>,
    flights: Arc<Flights<K, W, A>>,
    pub(crate) launch: Launch,
    tickets: Tickets,
    /// The deadline of the first caller as it came with the request, if a layer inside goes by that. A
    /// leaf lock, and nobody looks where the first caller has none.
    announced: Mutex<Option<Deadline>>,
    /// The first caller has gone.
    orphan: AtomicBool,
    /// Still in the table, unless somebody has it forgotten.
    aloft: AtomicBool,
}

/// Where a flight's work lies. It is empty between two flights.
pub(crate) type Home<W> = Pin<Box<Option<W>>>;

/// How a flight begins.
#[derive(Clone, Copy)]
pub(crate) struct Launch {
    pub(crate) hash: u64,
    /// The terms of the first caller, on which the call is made.
    pub(crate) terms: Terms,
    pub(crate) attempt: Attempt,
    /// How often the subject had changed.
    pub(crate) version: Version,
}

/// What says that answers may be kept.
struct Tickets {
    own: Option<Ticket>,
    /// That of the flight it came in place of, which may have its answer kept until this one ends.
    older: Option<Ticket>,
}

/// What a flight came to, as far as the flight is concerned with it.
pub(crate) trait Landing {
    /// Whether answers are ever kept. Where they are not, there are no tickets.
    const KEEPS: bool;

    /// How much of it is there.
    fn progress(&self) -> Progress;

    /// One more comes for it.
    fn expect_one(&self);

    /// Nobody wants it any more.
    fn abandon(&self);

    /// All of it is there. Puts it where later calls find it; whether there is such a place.
    fn keep(&self) -> bool;
}

impl<K, W, A: Landing> Flight<K, W, A> {
    /// A flight with its first member, made of the `idle` one that is over, if there is one that can be
    /// used again.
    #[inline]
    pub(crate) fn launch(
        launch: Launch,
        (own, older): (Option<Ticket>, Option<Ticket>),
        work: impl FnOnce() -> W,
        idle: &mut Option<Arc<Self>>,
        flights: &Arc<Flights<K, W, A>>,
    ) -> (Arc<Self>, Place) {
        if let Some(mut spent) = idle.take() {
            if let Some(flight) = Arc::get_mut(&mut spent)
                && flight.answer.get().is_none()
                && let Some((home, place)) = flight.relay.renew(launch.terms)
            {
                home.set(Some(work()));
                flight.launch = launch;
                if A::KEEPS {
                    flight.tickets = Tickets { own, older };
                }
                if launch.terms.deadline.is_some() {
                    flight.announced = Mutex::new(None);
                }
                flight.orphan.store(false, Ordering::Relaxed);
                flight.aloft.store(true, Ordering::Relaxed);
                return (spent, place);
            }
            *idle = Some(spent);
        }
        let (relay, place) = Relay::new(Box::pin(Some(work())), launch.terms);
        let flight = Self {
            relay,
            answer: OnceLock::new(),
            flights: Arc::clone(flights),
            launch,
            tickets: Tickets { own, older },
            announced: Mutex::new(None),
            orphan: AtomicBool::new(false),
            aloft: AtomicBool::new(true),
        };
        (Arc::new(flight), place)
    }

    /// What it came to, once that is known.
    #[inline]
    pub(crate) fn answer(&self) -> Option<&A> {
        self.answer.get()
    }

    /// Whether its first caller has gone.
    pub(crate) fn is_orphan(&self) -> bool {
        self.orphan.load(Ordering::Relaxed)
    }

    /// What it brings is not kept, nor what the one before it does.
    pub(crate) fn revoke(&self) {
        self.revoke_older();
        self.tickets.own.iter().for_each(revoke);
    }

    /// What the one before it brings would be older than what is there, or is to be.
    fn revoke_older(&self) {
        self.tickets.older.iter().for_each(revoke);
    }

    /// Another flight comes in its place. It may have its own answer kept for as long as that one flies.
    pub(crate) fn hand_down(&self) -> Option<Ticket> {
        self.revoke_older();
        self.tickets.own.clone()
    }

    /// Whether it has let a caller down.
    pub(crate) fn is_spent(&self) -> bool {
        self.relay.is_spent()
    }

    pub(crate) fn members(&self) -> usize {
        self.relay.members()
    }

    pub(crate) fn terms(&self) -> Terms {
        self.relay.terms()
    }

    /// Hears whether a layer inside goes by what was announced of the ambient deadline, under which the
    /// work has just been driven, or of the first caller's, which a layer that makes the call later has
    /// noted.
    pub(crate) fn hear(&self) {
        let (ambient, first) = (Deadline::current(), self.launch.terms.deadline);
        let of_ambient = ambient.and_then(Deadline::announced);
        let announced = if of_ambient.is_none() && ambient != first {
            first.and_then(Deadline::announced)
        } else {
            of_ambient
        };
        if let Some(announced) = announced {
            let mut known = lock(&self.announced);
            *known = Deadline::earliest(*known, Some(announced));
        }
    }

    /// What a layer inside took for the first caller's deadline.
    pub(crate) fn announced(&self) -> Option<Deadline> {
        *lock(&self.announced)
    }

    #[inline]
    fn run<R>(&self, terms: Terms, f: impl FnOnce() -> R) -> R {
        self.launch.attempt.with(|| terms.with(f))
    }
}

impl<K: Hash + Eq, W, A: Landing> Flight<K, W, A> {
    /// Joins, while everything is still to be had, for a call that knows of that many changes.
    #[inline]
    pub(crate) fn enter(&self, terms: Terms, version: Version) -> Entry {
        if self.launch.version.is_before(version) {
            return Entry::Closed;
        }
        let Some(answer) = self.answer.get() else { return self.relay.enter_in_time(terms) };
        if matches!(answer.progress(), Progress::Closed | Progress::Lost) {
            return Entry::Closed;
        }
        let entry = self.relay.enter_in_time(terms);
        if matches!(entry, Entry::Member(_)) {
            // The others were counted before the answer was there.
            answer.expect_one();
        }
        entry
    }

    /// Sees to it that members who are not polled delay nobody for long.
    #[inline]
    pub(crate) fn watch(self: &Arc<Self>, place: Place)
    where
        Self: Rouse,
    {
        self.relay.watch(place, self);
    }

    /// Takes it out of the table: the next call of its key starts another.
    pub(crate) fn withdraw(&self) {
        if self.aloft.swap(false, Ordering::Relaxed) {
            self.revoke_older();
            self.flights.remove(self.launch.hash, self);
        }
    }

    /// A member leaves without an answer. Of a deadline that ends at the response head it is known only
    /// here: whoever enforces it drops the call under it.
    fn give_up(&self, place: Place) {
        self.relay.give_up(place);
        if Deadline::head().is_some_and(Deadline::has_passed) {
            self.relay.spend();
        }
    }

    /// What there is of the answer now decides what becomes of the flight.
    fn settle(&self, last: bool) {
        match self.answer.get() {
            None if last => self.withdraw(),
            None => {}
            Some(answer) => match answer.progress() {
                Progress::Whole => self.land(answer),
                Progress::Open if !last => {}
                Progress::Open | Progress::Closed | Progress::Lost => {
                    // First, or somebody could join what is about to be given up.
                    self.withdraw();
                    if last {
                        answer.abandon();
                    }
                }
            },
        }
    }

    fn land(&self, answer: &A) {
        if !self.aloft.swap(false, Ordering::Relaxed) {
            return;
        }
        // First, or what is older could come over what is kept here.
        self.revoke_older();
        // In this order, so that a call finds the flight, or what it brought, or knows that it missed it.
        // A response's `Clone` and a store may panic: then it is not kept.
        if catch_unwind(AssertUnwindSafe(|| answer.keep())).unwrap_or(false) {
            self.flights.land();
        }
        self.flights.remove(self.launch.hash, self);
    }
}

impl<K, W, A> Wake for Flight<K, W, A>
where
    K: Send + Sync + 'static,
    W: Send + 'static,
    A: Send + Sync + 'static,
{
    fn wake(self: Arc<Self>) {
        self.relay.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.relay.ring();
    }
}

impl<K, W, A> Rouse for Flight<K, W, A>
where
    K: Send + Sync + 'static,
    W: Send + 'static,
    A: Send + Sync + 'static,
{
    fn rouse(&self) {
        self.relay.rouse();
    }
}

impl<K, W, A> Aboard for Flight<K, W, A>
where
    K: Hash + Eq + Send + Sync + 'static,
    W: Send + 'static,
    A: Landing + Send + Sync + 'static,
{
    #[inline(never)]
    fn leave(&self, place: Place) {
        let is_first = place.is_first();
        if is_first {
            // Before it has left: whoever finds itself alone then knows that the outcome is its own.
            self.orphan.store(true, Ordering::Relaxed);
        }
        match self.answer.get().map(Landing::progress) {
            None => self.give_up(place),
            Some(Progress::Open) => self.relay.give_up(place),
            Some(_) => {}
        }
        // If it was the last, the work is dropped, which is other people's code.
        let left = catch_unwind(AssertUnwindSafe(|| self.relay.leave(place)));
        let last = left.as_ref().map_or_else(|_| self.members() == 0, |last| *last);
        if is_first && !last && self.answer.get().is_none() {
            self.flights.hand_over();
        }
        self.settle(last);
        if let Err(payload) = left {
            resume_unwind(payload);
        }
    }

    fn within(&self, step: &mut dyn FnMut()) {
        // The response is there: a deadline that ended at its head does not reach the body.
        self.run(self.terms(), step);
    }
}
