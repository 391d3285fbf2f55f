use std::{
    any::Any,
    hash::Hash,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Wake, Waker, ready},
};

use buttress_core::{Attempt, End, Entry, Place, Progress, Relay, Terms, Turn};

use crate::{
    flights::Flights,
    seat::Aboard,
    settings::Ticket,
    sync::atomic::{AtomicBool, Ordering},
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
    first: Place,
    /// The first caller has gone.
    orphan: AtomicBool,
    /// Still in the table, unless somebody has it forgotten.
    aloft: AtomicBool,
}

/// Where a flight's work lies. It is empty between two flights.
pub(crate) type Home<W> = Pin<Box<Option<W>>>;

/// How a flight begins.
pub(crate) struct Launch {
    pub(crate) hash: u64,
    /// The terms of the first caller, on which the call is made.
    pub(crate) terms: Terms,
    pub(crate) attempt: Attempt,
    pub(crate) ticket: Option<Ticket>,
}

/// What came of a flight's work.
pub(crate) enum Run<A, O> {
    /// This for everybody.
    Answer(A),
    /// This for whoever drove it, if nobody else waits.
    Own(O),
}

/// How a member's wait ended.
pub(crate) enum Flown<O> {
    /// The answer is there, or will never be.
    Answered,
    /// It is alone, and this is the outcome.
    Own(O),
    /// It drove the work, which panicked, with this.
    Panicked(Box<dyn Any + Send>),
}

/// What a flight came to, as far as the flight is concerned with it.
pub(crate) trait Landing {
    /// How much of it is there.
    fn progress(&self) -> Progress;

    /// Nobody wants it any more.
    fn abandon(&self);

    /// All of it is there. Puts it where later calls find it; whether there is such a place.
    fn keep(&self) -> bool;
}

impl<K, W, A> Flight<K, W, A> {
    /// A flight with its first member, made of the `idle` one that is over, if there is one that can be
    /// used again.
    #[inline]
    pub(crate) fn launch(
        launch: Launch,
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
                flight.first = place;
                flight.orphan.store(false, Ordering::Relaxed);
                flight.aloft.store(true, Ordering::Relaxed);
                return (spent, place);
            }
            *idle = Some(spent);
        }
        let (relay, first) = Relay::new(Box::pin(Some(work())), launch.terms);
        let flight = Self {
            relay,
            answer: OnceLock::new(),
            flights: Arc::clone(flights),
            launch,
            first,
            orphan: AtomicBool::new(false),
            aloft: AtomicBool::new(true),
        };
        (Arc::new(flight), first)
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

    /// What it brings is not kept.
    pub(crate) fn revoke(&self) {
        if let Some(ticket) = &self.launch.ticket {
            ticket.store(false, Ordering::Release);
        }
    }

    pub(crate) fn members(&self) -> usize {
        self.relay.members()
    }

    pub(crate) fn terms(&self) -> Terms {
        self.relay.terms()
    }

    fn run<R>(&self, terms: Terms, f: impl FnOnce() -> R) -> R {
        terms.with(|| self.launch.attempt.with(f))
    }
}

impl<K: Hash + Eq, W, A: Landing> Flight<K, W, A> {
    /// Joins, while everything is still to be had.
    pub(crate) fn enter(&self, terms: Terms) -> Entry {
        match self.answer.get().map(Landing::progress) {
            Some(Progress::Lost) => Entry::Closed,
            _ => self.relay.enter(terms),
        }
    }

    /// Takes it out of the table: the next call of its key starts another.
    pub(crate) fn withdraw(&self) {
        if self.aloft.swap(false, Ordering::Relaxed) {
            self.flights.remove(self.launch.hash, self);
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
                Progress::Open => {
                    // First, or somebody could join what is about to be given up.
                    self.withdraw();
                    answer.abandon();
                }
                Progress::Lost => self.withdraw(),
            },
        }
    }

    fn land(&self, answer: &A) {
        if !self.aloft.swap(false, Ordering::Relaxed) {
            return;
        }
        // In this order, so that a call finds the flight, or what it brought, or knows that it missed it.
        // A response's `Clone` and a store may panic: then it is not kept.
        if catch_unwind(AssertUnwindSafe(|| answer.keep())).unwrap_or(false) {
            self.flights.land();
        }
        self.flights.remove(self.launch.hash, self);
    }
}

impl<K, W, A> Flight<K, W, A>
where
    K: Hash + Eq + Send + Sync + 'static,
    W: Send + 'static,
    A: Landing + Send + Sync + 'static,
{
    /// Ready when there is an answer, or none will come. If the work needs it, this member drives it:
    /// `run` polls it, `share` makes an answer of an outcome that others wait for too, and `panicked` one
    /// of a panic.
    #[inline]
    pub(crate) fn poll<O>(
        self: &Arc<Self>,
        place: Place,
        cx: &mut Context<'_>,
        run: impl FnOnce(Pin<&mut W>, &mut Context<'_>) -> Poll<Run<A, O>>,
        share: impl FnOnce(O) -> A,
        panicked: impl FnOnce(Option<Pin<&mut W>>) -> A,
    ) -> Poll<Flown<O>> {
        let Some(mut turn) = ready!(self.relay.turn(place, 0, cx)) else {
            return Poll::Ready(Flown::Answered);
        };
        let terms = turn.terms();
        let Some(work) = turn.work().and_then(|home| home.as_mut().as_pin_mut()) else {
            return Poll::Ready(Flown::Answered);
        };
        let waker = Waker::from(Arc::clone(self));
        let step = || run(work, &mut Context::from_waker(&waker));
        match catch_unwind(AssertUnwindSafe(|| self.run(terms, step))) {
            Ok(Poll::Pending) => {
                turn.wait(cx);
                return Poll::Pending;
            }
            Ok(Poll::Ready(Run::Own(outcome))) => {
                // Nothing of the call is left but its place.
                if let Some(home) = turn.work() {
                    home.set(None);
                }
                if self.end(&mut turn) {
                    return Poll::Ready(Flown::Own(outcome));
                }
                // To share is to run the user's `Clone`, or whatever makes another one of an error.
                match catch_unwind(AssertUnwindSafe(|| share(outcome))) {
                    Ok(answer) => self.publish(answer),
                    Err(payload) => {
                        self.publish(panicked(None));
                        return Poll::Ready(Flown::Panicked(payload));
                    }
                }
            }
            Ok(Poll::Ready(Run::Answer(answer))) => self.publish(answer),
            Err(payload) => {
                self.publish(panicked(turn.work().and_then(|home| home.as_mut().as_pin_mut())));
                return Poll::Ready(Flown::Panicked(payload));
            }
        }
        Poll::Ready(Flown::Answered)
    }

    /// Takes it out of the table, and ends it if nobody else waits. Whether it has ended.
    #[inline]
    fn end(&self, turn: &mut Turn<'_, Home<W>>) -> bool {
        if self.aloft.swap(false, Ordering::Relaxed) {
            self.flights.end(self.launch.hash, self, turn)
        } else {
            turn.end() != End::Others
        }
    }

    fn publish(&self, answer: A) {
        // There is none yet: the work, which is driven by one at a time, ends once.
        if self.answer.set(answer).is_ok() {
            self.settle(false);
        }
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

impl<K, W, A> Aboard for Flight<K, W, A>
where
    K: Hash + Eq + Send + Sync + 'static,
    W: Send + 'static,
    A: Landing + Send + Sync + 'static,
{
    fn leave(&self, place: Place) {
        let is_first = place == self.first;
        if is_first {
            // Before it has left: whoever finds itself alone then knows that the outcome is its own.
            self.orphan.store(true, Ordering::Relaxed);
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
        self.run(self.terms(), step);
    }
}
