use std::{
    any::Any,
    hash::Hash,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Wake, Waker},
};

use buttress_core::{Attempt, Drive, Entry, Place, Progress, Relay, Terms};

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
    relay: Relay<Pin<Box<W>>>,
    answer: OnceLock<A>,
    flights: Arc<Flights<K, W, A>>,
    hash: u64,
    first: Place,
    /// The first caller has gone.
    orphan: AtomicBool,
    /// Still in the table, unless somebody has it forgotten.
    aloft: AtomicBool,
    ticket: Option<Ticket>,
    /// The terms of the first caller, on which the call is made.
    pub(crate) launched: Terms,
    attempt: Attempt,
}

/// What came of the last poll of a flight's work.
pub(crate) enum Run<A, O> {
    /// This for everybody.
    Answer(A),
    /// This for whoever drove it, who is alone.
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
    #[inline]
    pub(crate) fn new(
        work: W,
        flights: &Arc<Flights<K, W, A>>,
        hash: u64,
        terms: Terms,
        ticket: Option<Ticket>,
    ) -> (Self, Place) {
        let (relay, place) = Relay::new(Box::pin(work), terms);
        let flight = Self {
            relay,
            answer: OnceLock::new(),
            flights: Arc::clone(flights),
            hash,
            first: place,
            orphan: AtomicBool::new(false),
            aloft: AtomicBool::new(true),
            ticket,
            launched: terms,
            attempt: Attempt::current(),
        };
        (flight, place)
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
        if let Some(ticket) = &self.ticket {
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
        terms.with(|| self.attempt.with(f))
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
            self.flights.remove(self.hash, self);
        }
    }

    /// Takes it out of the table, and says whether nobody waits but one.
    #[inline]
    pub(crate) fn withdraw_alone(&self) -> bool {
        self.withdraw();
        self.members() == 1
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
        self.flights.remove(self.hash, self);
    }
}

impl<K, W, A> Flight<K, W, A>
where
    K: Hash + Eq + Send + Sync + 'static,
    W: Send + 'static,
    A: Landing + Send + Sync + 'static,
{
    /// Ready when there is an answer, or none will come. If the work needs it, this member drives it:
    /// `run` polls it, and makes the answer of what it came to; `panicked` makes one of a panic.
    #[inline]
    pub(crate) fn poll<O>(
        self: &Arc<Self>,
        place: Place,
        cx: &mut Context<'_>,
        run: impl FnOnce(Pin<&mut W>, &mut Context<'_>) -> Poll<Run<A, O>>,
        panicked: impl FnOnce(Pin<&mut W>) -> A,
    ) -> Poll<Flown<O>> {
        let mut flown = Flown::Answered;
        let polled = self.relay.poll(place, 0, cx, |work, terms| {
            let waker = Waker::from(Arc::clone(self));
            let step = || run(work.as_mut(), &mut Context::from_waker(&waker));
            match catch_unwind(AssertUnwindSafe(|| self.run(terms, step))) {
                Ok(Poll::Pending) => return Drive::Pending,
                Ok(Poll::Ready(Run::Own(outcome))) => {
                    flown = Flown::Own(outcome);
                    return Drive::Last;
                }
                Ok(Poll::Ready(Run::Answer(answer))) => self.publish(answer),
                Err(payload) => {
                    flown = Flown::Panicked(payload);
                    self.publish(panicked(work.as_mut()));
                }
            }
            Drive::Done
        });
        polled.map(|()| flown)
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
