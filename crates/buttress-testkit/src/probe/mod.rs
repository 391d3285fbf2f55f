use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Attempt, Criticality, Deadline};
use pin_project::{pin_project, pinned_drop};
use tower_service::Service;

use self::ledger::{CallId, InstanceId, Ledger, ProbePermit};

mod ledger;

/// A service that records how a layer uses it.
///
/// Its clones share a pool of permits, as those of tower's `ConcurrencyLimit` do. `poll_ready`
/// reserves a permit for the instance, and waits in line if none is free. `call` moves the permit
/// into the response future. Dropping the instance or the future returns the permit. A `call` on an
/// instance without a permit panics, or is recorded by a [`recording`](Self::recording) probe.
///
/// Keep a clone of the probe to read and to control it. A clone has reserved nothing.
///
/// ```
/// use buttress_testkit::Probe;
/// use tower_service::Service;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let probe = Probe::new(|request: u32| Ok::<_, std::io::Error>(request + 1)).permits(1);
/// let mut service = probe.clone();
///
/// std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
/// assert_eq!(probe.reserved(), 1);
/// assert!(probe.reserve().is_none(), "a stranger would have to wait");
///
/// let response = service.call(1);
/// assert_eq!(probe.reserved(), 0);
/// assert_eq!(probe.live(), 1);
/// assert_eq!(response.await.unwrap(), 2);
/// assert!(probe.at_rest());
/// # }
/// ```
pub struct Probe<Req, Res, E> {
    state: Arc<ProbeState<Req, Res, E>>,
    instance: InstanceId,
}

impl<Req, Res, E> Probe<Req, Res, E> {
    /// Creates a probe that is always ready. `answer` returns the outcome of each request.
    pub fn new(answer: impl Fn(Req) -> Result<Res, E> + Send + Sync + 'static) -> Self {
        Self::over(ProbeState { ledger: Ledger::new(), answer: Box::new(answer) })
    }

    /// Sets the number of permits for the reservations and calls of all clones together.
    pub fn permits(self, permits: usize) -> Self {
        self.state.ledger.set_permits(permits);
        self
    }

    /// Makes each call pending for its first `polls` polls, and wake itself at once.
    pub fn pausing(self, polls: u32) -> Self {
        self.state.ledger.set_pauses(polls);
        self
    }

    /// Records a call without readiness in [`violations`](Self::violations) and answers it, instead
    /// of a panic.
    pub fn recording(self) -> Self {
        self.state.ledger.set_recording();
        self
    }

    /// Keeps all calls pending until [`release`](Self::release).
    pub fn hold(&self) {
        self.state.ledger.hold();
    }

    /// Lets held calls go on, and wakes them.
    pub fn release(&self) {
        self.state.ledger.release();
    }

    /// Makes `poll_ready` fail from now on, with the errors that `error` returns.
    pub fn break_down(&self, error: impl Fn() -> E + Send + Sync + 'static)
    where
        E: 'static,
    {
        self.state.ledger.break_down(Arc::new(error));
    }

    /// Takes a permit as a new instance would, if one is free. Dropping the result returns the
    /// permit.
    pub fn reserve(&self) -> Option<Reserved<Req, Res, E>> {
        let stranger = self.clone();
        let granted = self.state.ledger.reserve_now(stranger.instance);
        granted.then_some(Reserved(stranger))
    }

    /// Returns the number of calls.
    pub fn calls(&self) -> usize {
        self.state.ledger.read(|counts| counts.calls)
    }

    /// Returns the number of polls of response futures.
    pub fn polls(&self) -> usize {
        self.state.ledger.read(|counts| counts.polls)
    }

    /// Returns the number of calls of `poll_ready`.
    pub fn ready_polls(&self) -> usize {
        self.state.ledger.read(|counts| counts.ready_polls)
    }

    /// Returns the number of response futures, finished or not.
    pub fn live(&self) -> usize {
        self.state.ledger.read(|counts| counts.live)
    }

    /// Returns the number of response futures that were dropped before the end.
    pub fn abandoned(&self) -> usize {
        self.state.ledger.read(|counts| counts.abandoned)
    }

    /// Returns the number of instances that are ready and hold a permit.
    pub fn reserved(&self) -> usize {
        self.state.ledger.reserved()
    }

    /// Returns the number of instances that wait in line for a permit.
    pub fn waiting(&self) -> usize {
        self.state.ledger.waiting()
    }

    /// Returns whether no permit is reserved, no instance waits and no call is live.
    pub fn at_rest(&self) -> bool {
        self.reserved() == 0 && self.waiting() == 0 && self.live() == 0
    }

    /// Returns the number of each call, from 1, that reached an instance without readiness.
    pub fn violations(&self) -> Vec<usize> {
        self.state.ledger.violations()
    }

    /// Returns the ambient deadline and attempt of each `call` and of each poll of a response
    /// future, in order.
    pub fn ambient(&self) -> Vec<(Option<Deadline>, Attempt)> {
        self.state.ledger.ambient()
    }

    /// Returns the ambient criticality of each `call`, in order.
    pub fn criticalities(&self) -> Vec<Criticality> {
        self.state.ledger.criticalities()
    }

    fn over(state: ProbeState<Req, Res, E>) -> Self {
        let state = Arc::new(state);
        let instance = state.ledger.instance();
        Self { state, instance }
    }
}

impl<Req, Res, E> Service<Req> for Probe<Req, Res, E> {
    type Response = Res;
    type Error = E;
    type Future = ProbeFuture<Req, Res, E>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        match self.state.ledger.breakdown(self.instance) {
            Some(error) => Poll::Ready(Err(error())),
            None => self.state.ledger.poll_reserve(self.instance, cx).map(Ok),
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let (call, permit) = self.state.ledger.call(self.instance);
        ProbeFuture { state: Arc::clone(&self.state), call, permit, request: Some(request) }
    }
}

impl<Req, Res, E> Clone for Probe<Req, Res, E> {
    fn clone(&self) -> Self {
        Self { instance: self.state.ledger.instance(), state: Arc::clone(&self.state) }
    }
}

impl<Req, Res, E> Drop for Probe<Req, Res, E> {
    fn drop(&mut self) {
        self.state.ledger.leave(self.instance);
    }
}

impl<Req, Res, E> fmt::Debug for Probe<Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("reserved", &self.reserved())
            .field("waiting", &self.waiting())
            .field("live", &self.live())
            .finish_non_exhaustive()
    }
}

/// A permit of a [`Probe`]. Dropping it returns the permit.
#[derive(Debug)]
#[must_use = "it is given back when dropped"]
pub struct Reserved<Req, Res, E>(
    #[expect(dead_code, reason = "held for its drop")] Probe<Req, Res, E>,
);

/// The response future of a [`Probe`].
#[must_use = "futures do nothing unless polled"]
#[pin_project(PinnedDrop)]
pub struct ProbeFuture<Req, Res, E> {
    state: Arc<ProbeState<Req, Res, E>>,
    call: CallId,
    permit: Option<ProbePermit>,
    request: Option<Req>,
}

impl<Req, Res, E> Future for ProbeFuture<Req, Res, E> {
    type Output = Result<Res, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.state.ledger.poll_call(*this.call, cx).is_pending() {
            return Poll::Pending;
        }
        match this.request.take() {
            Some(request) => Poll::Ready((this.state.answer)(request)),
            None => Poll::Pending,
        }
    }
}

#[pinned_drop]
impl<Req, Res, E> PinnedDrop for ProbeFuture<Req, Res, E> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        let finished = this.request.is_none();
        this.state.ledger.end(*this.call, this.permit.take(), finished);
    }
}

impl<Req, Res, E> fmt::Debug for ProbeFuture<Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeFuture").field("call", &self.call).finish_non_exhaustive()
    }
}

struct ProbeState<Req, Res, E> {
    ledger: Ledger<E>,
    answer: Box<dyn Fn(Req) -> Result<Res, E> + Send + Sync>,
}
