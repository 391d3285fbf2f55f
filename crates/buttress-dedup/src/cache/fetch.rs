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

/// An answer on its way from a store, and for how long the service waits for it.
pub trait Fetch: Future {
    /// Does not wait for a store that may hang: it has a head start, no more.
    fn hasten(&mut self);

    /// Whether the service waits for it, however long that takes.
    fn is_awaited(&self) -> bool;

    /// Ready when the service is to be called though the store has not answered.
    fn poll_start(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
}

/// What is never fetched. As there is none, the place for one takes no room, and a look no time.
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

/// What a store is asked for.
#[pin_project]
#[derive(Debug)]
pub struct Paced<G> {
    #[pin]
    answer: G,
    pace: Pace,
}

/// When the service is called while a store is read.
#[derive(Debug)]
enum Pace {
    /// After that.
    After,
    /// After one tick, if the store has not answered by then.
    Tick(Box<TickTimer>),
    /// Meanwhile.
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
        self.pace = Pace::Tick(Box::new(TickTimer::new(HEAD_START)));
    }

    fn is_awaited(&self) -> bool {
        matches!(self.pace, Pace::After)
    }

    fn poll_start(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let pace = self.project().pace;
        match pace {
            Pace::After => return Poll::Pending,
            Pace::Tick(ticks) => ready!(ticks.poll(cx)),
            Pace::Beside => {}
        }
        *pace = Pace::Beside;
        Poll::Ready(())
    }
}

/// How long a store that is in doubt is waited for. Without tokio's timers it is one turn of the task.
const HEAD_START: Duration = Duration::from_millis(10);
