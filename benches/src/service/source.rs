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

use crate::{EchoFuture, Inner};

/// The inner service of coalescers and caches. The response to a number is that number.
///
/// The error is `Clone`, because some of the other crates require that.
#[derive(Clone, Debug)]
pub struct Source {
    inner: Inner,
    state: Option<Arc<SourceState>>,
}

impl Source {
    /// Responds as `inner` says. Calls are not counted.
    pub(crate) const fn new(inner: Inner) -> Self {
        Self { inner, state: None }
    }

    /// Responds at once and counts calls.
    pub(crate) fn counted() -> Self {
        Self { inner: Inner::Ready, state: Some(Arc::default()) }
    }

    /// Counts calls and holds them until the next [`release`](Self::release).
    pub(crate) fn held() -> Self {
        let state = SourceState { held: Some(Mutex::default()), ..SourceState::default() };
        Self { inner: Inner::Ready, state: Some(Arc::new(state)) }
    }

    /// Returns the number of calls so far, or 0 if this source does not count calls.
    pub(crate) fn calls(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.calls.load(Ordering::Relaxed))
    }

    /// Whether calls wait for [`release`](Self::release).
    pub(crate) fn is_held(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.held.is_some())
    }

    /// Completes all held calls.
    pub(crate) fn release(&self) {
        let Some(mut held) = self.state.as_ref().and_then(|state| state.held()) else { return };
        held.release += 1;
        let wakers = take(&mut held.wakers);
        // Wake without the lock: a waker may poll a call at once, and `HeldCalls::is_held` takes the lock.
        drop(held);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Service<u64> for Source {
    type Response = u64;
    type Error = SourceError;
    type Future = SourceFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SourceError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> SourceFuture {
        if let Some(state) = &self.state {
            state.calls.fetch_add(1, Ordering::Relaxed);
        }
        let state = self.state.clone().filter(|state| state.held.is_some());
        SourceFuture { response: EchoFuture::new(self.inner, request), state, position: None }
    }
}

/// The future of [`Source`].
#[derive(Debug)]
pub struct SourceFuture {
    response: EchoFuture<u64, SourceError>,
    state: Option<Arc<SourceState>>,
    position: Option<Position>,
}

impl Future for SourceFuture {
    type Output = Result<u64, SourceError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { response, state, position } = self.get_mut();
        let held = state.as_ref().and_then(|state| state.held());
        if held.is_some_and(|mut held| held.is_held(position, cx.waker())) {
            return Poll::Pending;
        }
        Pin::new(response).poll(cx)
    }
}

/// The error of [`Source`], which never fails.
#[derive(Clone, Copy, Debug)]
pub struct SourceError;

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer")
    }
}

impl Error for SourceError {}

impl From<Rejection> for SourceError {
    fn from(_: Rejection) -> Self {
        Self
    }
}

#[derive(Debug, Default)]
struct SourceState {
    // Relaxed: a counter that orders no other memory.
    calls: AtomicUsize,
    held: Option<Mutex<HeldCalls>>,
}

impl SourceState {
    fn held(&self) -> Option<MutexGuard<'_, HeldCalls>> {
        Some(self.held.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The calls that wait for the next release. One release completes all of them.
#[derive(Debug, Default)]
struct HeldCalls {
    /// The number of releases so far.
    release: u64,
    wakers: Vec<Waker>,
}

impl HeldCalls {
    /// Stores the waker of a call. Returns `false` if a release has completed the call.
    fn is_held(&mut self, position: &mut Option<Position>, waker: &Waker) -> bool {
        let Some(Position { release, index }) = *position else {
            *position = Some(Position { release: self.release, index: self.wakers.len() });
            self.wakers.push(waker.clone());
            return true;
        };
        if release != self.release {
            return false;
        }
        if let Some(own) = self.wakers.get_mut(index) {
            own.clone_from(waker);
        }
        true
    }
}

/// The place of a held call's waker. Valid until the next release.
#[derive(Clone, Copy, Debug)]
struct Position {
    release: u64,
    index: usize,
}
