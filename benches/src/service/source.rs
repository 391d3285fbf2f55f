use std::{
    error::Error,
    fmt,
    future::Future,
    mem::take,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use buttress::Rejection;
use tower::Service;

use crate::{Answer, Inner};

/// The service inside of what shares answers: it answers a number with the number.
///
/// Its error can be cloned, for some peers want that.
#[derive(Clone, Debug)]
pub struct Source {
    inner: Inner,
    watch: Option<Arc<Watch>>,
}

impl Source {
    /// Answers as `inner` says.
    pub(crate) const fn new(inner: Inner) -> Self {
        Self { inner, watch: None }
    }

    /// Answers at once, and counts its loads.
    pub(crate) fn counted() -> Self {
        Self { inner: Inner::Ready, watch: Some(Arc::default()) }
    }

    /// Answers at the next [`answer`](Self::answer), and counts its loads.
    pub(crate) fn held() -> Self {
        let watch = Watch { desk: Some(Mutex::default()), ..Watch::default() };
        Self { inner: Inner::Ready, watch: Some(Arc::new(watch)) }
    }

    /// Loads begun so far, if they are counted.
    pub(crate) fn loads(&self) -> usize {
        self.watch.as_ref().map_or(0, |watch| watch.loads.load(Ordering::Relaxed))
    }

    /// Whether loads wait for [`answer`](Self::answer).
    pub(crate) fn is_held(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.desk.is_some())
    }

    /// Answers all loads that wait.
    pub(crate) fn answer(&self) {
        let Some(mut desk) = self.watch.as_ref().and_then(|watch| watch.desk()) else { return };
        desk.turn += 1;
        let wakers = take(&mut desk.wakers);
        drop(desk);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Service<u64> for Source {
    type Response = u64;
    type Error = Failed;
    type Future = Load;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Load {
        if let Some(watch) = &self.watch {
            watch.loads.fetch_add(1, Ordering::Relaxed);
        }
        let held = self.watch.clone().filter(|watch| watch.desk.is_some());
        Load { answer: Answer::new(self.inner, request), held, place: None }
    }
}

/// The future of [`Source`].
#[derive(Debug)]
pub struct Load {
    answer: Answer<u64, Failed>,
    held: Option<Arc<Watch>>,
    place: Option<Place>,
}

impl Future for Load {
    type Output = Result<u64, Failed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { answer, held, place } = self.get_mut();
        let desk = held.as_ref().and_then(|watch| watch.desk());
        if desk.is_some_and(|mut desk| desk.is_waiting(place, cx.waker())) {
            return Poll::Pending;
        }
        Pin::new(answer).poll(cx)
    }
}

/// The error of [`Source`], which never fails.
#[derive(Clone, Copy, Debug)]
pub struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer")
    }
}

impl Error for Failed {}

impl From<Rejection> for Failed {
    fn from(_: Rejection) -> Self {
        Self
    }
}

#[derive(Debug, Default)]
struct Watch {
    loads: AtomicUsize,
    desk: Option<Mutex<Desk>>,
}

impl Watch {
    fn desk(&self) -> Option<MutexGuard<'_, Desk>> {
        Some(self.desk.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where loads wait for their answer. Those of one turn are answered together.
#[derive(Debug, Default)]
struct Desk {
    turn: u64,
    wakers: Vec<Waker>,
}

impl Desk {
    fn is_waiting(&mut self, place: &mut Option<Place>, waker: &Waker) -> bool {
        let Some(Place { turn, index }) = *place else {
            *place = Some(Place { turn: self.turn, index: self.wakers.len() });
            self.wakers.push(waker.clone());
            return true;
        };
        if turn != self.turn {
            return false;
        }
        if let Some(own) = self.wakers.get_mut(index) {
            own.clone_from(waker);
        }
        true
    }
}

#[derive(Clone, Copy, Debug)]
struct Place {
    turn: u64,
    index: usize,
}
