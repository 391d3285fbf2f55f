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

/// A service that shows how it is used.
///
/// Its clones share a pool of permits, as those of tower's `ConcurrencyLimit` do: `poll_ready`
/// reserves one for this instance, waiting in line if there is none, `call` moves it into the
/// response future, and dropping the instance or the future gives it back. A `call` on an instance
/// that has reserved nothing panics, or is noted by a [`recording`](Self::recording) probe.
///
/// The probe is its own instrument: keep a clone to read it and to steer it. A clone has reserved
/// nothing.
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
/// assert_eq!((probe.reserved(), probe.live()), (0, 1));
/// assert_eq!(response.await.unwrap(), 2);
/// assert!(probe.at_rest());
/// # }
/// ```
pub struct Probe<Req, Res, E> {
    state: Arc<ProbeState<Req, Res, E>>,
    instance: InstanceId,
}

impl<Req, Res, E> Probe<Req, Res, E> {
    /// A probe that is always ready and gives each request the outcome `answer` has for it.
    pub fn new(answer: impl Fn(Req) -> Result<Res, E> + Send + Sync + 'static) -> Self {
        Self::over(ProbeState { ledger: Ledger::new(), answer: Box::new(answer) })
    }

    /// Has `permits` permits, for the reservations and the calls of all clones together.
    pub fn permits(self, permits: usize) -> Self {
        self.state.ledger.set_permits(permits);
        self
    }

    /// Each call is pending for its first `polls` polls, and asks at once to be polled again.
    pub fn pausing(self, polls: u32) -> Self {
        self.state.ledger.set_pauses(polls);
        self
    }

    /// A call on an instance that was not ready is noted in [`violations`](Self::violations) and
    /// answered, instead of a panic.
    pub fn recording(self) -> Self {
        self.state.ledger.set_recording();
        self
    }

    /// Keeps all calls pending from now on, until they are [released](Self::release).
    pub fn hold(&self) {
        self.state.ledger.hold();
    }

    /// Lets held calls go on, and wakes them.
    pub fn release(&self) {
        self.state.ledger.release();
    }

    /// `poll_ready` fails from now on with what `error` makes.
    pub fn break_down(&self, error: impl Fn() -> E + Send + Sync + 'static)
    where
        E: 'static,
    {
        self.state.ledger.break_down(Arc::new(error));
    }

    /// Takes a permit, if a stranger who comes now gets one. It is given back by drop.
    pub fn reserve(&self) -> Option<Reserved<Req, Res, E>> {
        let stranger = self.clone();
        let granted = self.state.ledger.reserve_now(stranger.instance);
        granted.then_some(Reserved(stranger))
    }

    /// How many calls there have been.
    pub fn calls(&self) -> usize {
        self.state.ledger.read(|counts| counts.calls)
    }

    /// How often response futures were polled.
    pub fn polls(&self) -> usize {
        self.state.ledger.read(|counts| counts.polls)
    }

    /// How often `poll_ready` was called.
    pub fn ready_polls(&self) -> usize {
        self.state.ledger.read(|counts| counts.ready_polls)
    }

    /// How many response futures there are, finished or not.
    pub fn live(&self) -> usize {
        self.state.ledger.read(|counts| counts.live)
    }

    /// How many response futures were dropped before they had finished.
    pub fn abandoned(&self) -> usize {
        self.state.ledger.read(|counts| counts.abandoned)
    }

    /// How many instances are ready and hold a permit for it.
    pub fn reserved(&self) -> usize {
        self.state.ledger.reserved()
    }

    /// How many instances wait in line for a permit.
    pub fn waiting(&self) -> usize {
        self.state.ledger.waiting()
    }

    /// Whether nothing is reserved, nobody waits and no call lives.
    pub fn at_rest(&self) -> bool {
        self.reserved() == 0 && self.waiting() == 0 && self.live() == 0
    }

    /// The number of each call, from 1, that reached an instance which was not ready.
    pub fn violations(&self) -> Vec<usize> {
        self.state.ledger.violations()
    }

    /// The ambient deadline and attempt that each `call` and each poll of a response future ran
    /// under, in their order.
    pub fn ambient(&self) -> Vec<(Option<Deadline>, Attempt)> {
        self.state.ledger.ambient()
    }

    /// The ambient criticality of each `call`, in their order.
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

/// A permit of a [`Probe`], given back by drop.
#[derive(Debug)]
#[must_use = "it is given back when dropped"]
pub struct Reserved<Req, Res, E>(
    #[expect(dead_code, reason = "held for its drop")] Probe<Req, Res, E>,
);

/// The response of a [`Probe`].
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
