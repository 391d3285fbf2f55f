use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Attempt, Deadline};
use pin_project::{pin_project, pinned_drop};
use tokio::time::{Instant, Sleep};
use tower_service::Service;

use super::{Act, Note, Serving, Step};

/// An upstream that follows a [`Script`](crate::Script) and records its calls.
///
/// Clones share the script and the records. `N` is the recorded part of a request.
pub struct Scripted<Req, Res, E, N = Req> {
    cursor: Arc<ScriptCursor<Req, Res, E, N>>,
}

impl<Req, Res, E, N> Scripted<Req, Res, E, N> {
    pub(crate) fn new(steps: Vec<Step<Req, Res, E>>, note: Note<Req, N>, ready: bool) -> Self {
        Self {
            cursor: Arc::new(ScriptCursor {
                steps,
                note,
                ready,
                start: Instant::now(),
                received: Mutex::default(),
                live: Arc::default(),
            }),
        }
    }

    /// Returns the calls so far, in order.
    pub fn received(&self) -> Vec<Received<N>>
    where
        N: Clone,
    {
        self.cursor.lock().clone()
    }

    /// Returns the time of each call since the service was created.
    pub fn times(&self) -> Vec<Duration> {
        self.cursor.lock().iter().map(|call| call.at).collect()
    }

    /// Returns the number of calls.
    pub fn calls(&self) -> usize {
        self.cursor.lock().len()
    }

    /// Returns the number of response futures, finished or not.
    pub fn live(&self) -> usize {
        self.cursor.live.load(Ordering::SeqCst)
    }
}

impl<Req, Res, E, N> Service<Req> for Scripted<Req, Res, E, N> {
    type Response = Res;
    type Error = E;
    type Future = ScriptedFuture<Req, Res, E>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        if self.cursor.ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let request_note = (self.cursor.note)(&request);
        let call = {
            let mut received = self.cursor.lock();
            received.push(Received {
                at: self.cursor.start.elapsed(),
                request: request_note,
                deadline: Deadline::current(),
                attempt: Attempt::current(),
            });
            received.len() - 1
        };
        self.cursor.live.fetch_add(1, Ordering::SeqCst);
        let steps = &self.cursor.steps;
        let step = steps.get(call).or_else(|| steps.last()).cloned();
        ScriptedFuture {
            state: match step {
                Some(step) if !step.delay.is_zero() => ScriptedState::Waiting {
                    sleep: tokio::time::sleep(step.delay),
                    next: Some((request, step.act)),
                },
                Some(step) => ScriptedState::Acting(Some((request, step.act))),
                None => ScriptedState::Acting(Some((request, Act::Hang))),
            },
            live: Arc::clone(&self.cursor.live),
        }
    }
}

impl<Req, Res, E, N> Clone for Scripted<Req, Res, E, N> {
    fn clone(&self) -> Self {
        Self { cursor: Arc::clone(&self.cursor) }
    }
}

impl<Req, Res, E, N> fmt::Debug for Scripted<Req, Res, E, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted")
            .field("calls", &self.calls())
            .field("live", &self.live())
            .finish_non_exhaustive()
    }
}

/// A call that a [`Scripted`] service received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received<N> {
    /// The time since the service was created.
    pub at: Duration,
    /// The request, or its recorded part.
    pub request: N,
    /// The ambient deadline of the call.
    pub deadline: Option<Deadline>,
    /// The ambient attempt of the call.
    pub attempt: Attempt,
}

/// The response future of a [`Scripted`] service.
#[must_use = "futures do nothing unless polled"]
#[pin_project(PinnedDrop)]
pub struct ScriptedFuture<Req, Res, E> {
    #[pin]
    state: ScriptedState<Req, Res, E>,
    live: Arc<AtomicUsize>,
}

impl<Req, Res, E> Future for ScriptedFuture<Req, Res, E> {
    type Output = Result<Res, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                ScriptedStateProjection::Waiting { sleep, next } => {
                    ready!(sleep.poll(cx));
                    next.take()
                }
                ScriptedStateProjection::Acting(next) => next.take(),
                ScriptedStateProjection::Serving(serving) => return serving.as_mut().poll(cx),
            };
            state.set(match next {
                Some((request, Act::Answer(answer))) => return Poll::Ready(answer(request)),
                Some((request, Act::Serve(serve))) => ScriptedState::Serving(serve(request)),
                hanging => {
                    // The request stays alive, because an upstream that hangs has not read it.
                    state.set(ScriptedState::Acting(hanging));
                    return Poll::Pending;
                }
            });
        }
    }
}

#[pinned_drop]
impl<Req, Res, E> PinnedDrop for ScriptedFuture<Req, Res, E> {
    fn drop(self: Pin<&mut Self>) {
        self.live.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<Req, Res, E> fmt::Debug for ScriptedFuture<Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedFuture").finish_non_exhaustive()
    }
}

#[pin_project(project = ScriptedStateProjection)]
enum ScriptedState<Req, Res, E> {
    Waiting {
        #[pin]
        sleep: Sleep,
        next: Option<(Req, Act<Req, Res, E>)>,
    },
    Acting(Option<(Req, Act<Req, Res, E>)>),
    Serving(Serving<Res, E>),
}

struct ScriptCursor<Req, Res, E, N> {
    steps: Vec<Step<Req, Res, E>>,
    note: Note<Req, N>,
    ready: bool,
    start: Instant,
    received: Mutex<Vec<Received<N>>>,
    live: Arc<AtomicUsize>,
}

impl<Req, Res, E, N> ScriptCursor<Req, Res, E, N> {
    fn lock(&self) -> MutexGuard<'_, Vec<Received<N>>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
