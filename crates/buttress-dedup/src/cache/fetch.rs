use std::{
    convert::Infallible,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::TickTimer;
use pin_project::pin_project;

/// A read of a store, and how long the service waits for it.
pub trait Fetch: Future {
    /// Gives the store only a head start of 10 ms, because it may hang.
    fn hasten(&mut self);

    /// Whether the service waits until the read ends.
    fn is_awaited(&self) -> bool;

    /// Ready when the service is to be called although the store has not answered.
    fn poll_start(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
}

/// A read that never exists. The type has no value, so its field takes no space and its poll no time.
#[derive(Debug)]
pub struct Never<T>(Infallible, PhantomData<fn() -> T>);

impl<T> Future for Never<T> {
    type Output = T;

    #[inline]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        match self.0 {}
    }
}

impl<T> Fetch for Never<T> {
    #[inline]
    fn hasten(&mut self) {
        match self.0 {}
    }

    #[inline]
    fn is_awaited(&self) -> bool {
        match self.0 {}
    }

    #[inline]
    fn poll_start(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match self.0 {}
    }
}

/// A read of a store, with the time at which the service is called.
#[pin_project]
#[derive(Debug)]
pub struct Paced<G> {
    #[pin]
    answer: G,
    pace: Pace,
}

/// When the service is called.
#[derive(Debug)]
enum Pace {
    /// After the read.
    After,
    /// After a tick, if the store has not answered by then.
    Tick(Box<TickTimer>),
    /// Now, beside the read.
    Beside,
}

impl<G> Paced<G> {
    pub(crate) const fn new(answer: G) -> Self {
        Self { answer, pace: Pace::After }
    }
}

impl<G: Future> Future for Paced<G> {
    type Output = G::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<G::Output> {
        self.project().answer.poll(cx)
    }
}

impl<G: Future> Fetch for Paced<G> {
    #[cold]
    fn hasten(&mut self) {
        // Called by `KeyedCall::lead` before the read is in its pinned slot. `TickTimer` starts with its
        // first poll, so this touches no runtime under the lock of the shard.
        self.pace = Pace::Tick(Box::new(TickTimer::new(HEAD_START)));
    }

    fn is_awaited(&self) -> bool {
        matches!(self.pace, Pace::After)
    }

    fn poll_start(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let pace = self.project().pace;
        match pace {
            // `Pending` leaves a waker: `Work::poll` has polled the read with the same context before.
            Pace::After => return Poll::Pending,
            Pace::Tick(ticks) => ready!(ticks.poll(cx)),
            Pace::Beside => {}
        }
        // Must not stay `Tick`: a further poll would start another tick and stall the call of the service.
        *pace = Pace::Beside;
        Poll::Ready(())
    }
}

/// The head start of a slow store. Without tokio's timers: a single poll of the task.
const HEAD_START: Duration = Duration::from_millis(10);
