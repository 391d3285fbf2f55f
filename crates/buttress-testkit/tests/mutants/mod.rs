//! Layers that break the contract, each in one way.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use buttress_core::{BoxError, Deadline, Signals, take_ready};
use buttress_testkit::Answer;
use tokio::time::Sleep;
use tower::{Layer, Service, ServiceExt};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    CallsAClone,
    ClonesItsReadiness,
    KeepsWhatItRejects,
    KeepsWhatHasExpired,
    KeepsItsPlaceWhenLate,
    SpinsInTheResponse,
    SpinsInReadiness,
    SwallowsTheWake,
    SwallowsTheWakeOfReadiness,
    KeepsTheFirstWaker,
    LosesTheTurnOfADroppedWaiter,
    Spawns,
    KeepsTheCallForLater,
    CallsTwice,
    ChangesResponses,
    ChangesErrors,
    ChangesErrorsOfReadiness,
    RejectsInReadiness,
    ReadsPendingAsFull,
    ReadsPendingAsAnError,
    HidesBackpressure,
    ForgetsTheDeadline,
    HoldsTheOutcomeForAPoll,
    KeepsTheSignals,
    RaisesTheSignalsOfAnotherCall,
}

pub(crate) struct Mutant {
    flaw: Flaw,
    state: Arc<State>,
}

impl Mutant {
    pub(crate) fn with(flaw: Flaw) -> Self {
        Self { flaw, state: Arc::default() }
    }
}

impl<S> Layer<S> for Mutant {
    type Service = MutantService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let state = Arc::clone(&self.state);
        MutantService { inner, flaw: self.flaw, state, ready: false, full: false, timer: None }
    }
}

pub(crate) struct MutantService<S> {
    inner: S,
    flaw: Flaw,
    state: Arc<State>,
    ready: bool,
    full: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S: Clone> Clone for MutantService<S> {
    fn clone(&self) -> Self {
        let (inner, state) = (self.inner.clone(), Arc::clone(&self.state));
        Self { inner, flaw: self.flaw, state, ready: self.ready, full: false, timer: None }
    }
}

impl<S> Service<u32> for MutantService<S>
where
    S: Service<u32, Response = Answer, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut quiet = Context::from_waker(Waker::noop());
        let cx = if self.flaw == Flaw::SwallowsTheWakeOfReadiness { &mut quiet } else { cx };
        if self.flaw == Flaw::HidesBackpressure {
            return Poll::Ready(Ok(()));
        }
        if self.flaw == Flaw::RejectsInReadiness && self.state.in_flight() >= LIMIT {
            return Poll::Ready(Err("overloaded".into()));
        }
        if self.flaw == Flaw::ClonesItsReadiness {
            if !self.ready {
                ready!(self.inner.poll_ready(cx))?;
                self.ready = true;
            }
            return Poll::Ready(Ok(()));
        }
        let polled = self.inner.poll_ready(cx);
        if self.flaw == Flaw::ChangesErrorsOfReadiness {
            return polled.map_err(|error| format!("sorry: {error}").into());
        }
        if polled.is_ready() {
            return polled;
        }
        match self.flaw {
            Flaw::SpinsInReadiness => cx.waker().wake_by_ref(),
            Flaw::ReadsPendingAsAnError => return Poll::Ready(Err("overloaded".into())),
            Flaw::ReadsPendingAsFull => {
                self.full = true;
                return Poll::Ready(Ok(()));
            }
            Flaw::KeepsItsPlaceWhenLate => {
                let second = || Box::pin(tokio::time::sleep(Duration::from_secs(1)));
                ready!(self.timer.get_or_insert_with(second).as_mut().poll(cx));
                self.full = true;
                return Poll::Ready(Ok(()));
            }
            _ => {}
        }
        Poll::Pending
    }

    fn call(&mut self, request: u32) -> Self::Future {
        if std::mem::take(&mut self.full) {
            self.timer = None;
            return Box::pin(async { Err("overloaded".into()) });
        }
        self.ready = false;
        if self.flaw == Flaw::KeepsWhatHasExpired
            && Deadline::current().is_some_and(Deadline::has_passed)
        {
            return Box::pin(async { Err("too late".into()) });
        }
        let state = Arc::clone(&self.state);
        let busy = Busy::new(&state);
        if self.flaw == Flaw::KeepsWhatItRejects && state.in_flight() > LIMIT {
            return Box::pin(async { Err("overloaded".into()) });
        }
        let mut clone = self.inner.clone();
        let mut inner = match self.flaw {
            Flaw::HidesBackpressure => {
                return Box::pin(async move { clone.ready().await?.call(request).await });
            }
            Flaw::LosesTheTurnOfADroppedWaiter => {
                let mut inner = take_ready(&mut self.inner);
                return Box::pin(async move {
                    let turn = poll_fn(|cx| state.poll_turn(cx)).await;
                    let outcome = inner.call(request).await;
                    drop(turn);
                    outcome
                });
            }
            Flaw::CallsAClone => Box::pin(clone.call(request)),
            _ => Box::pin(self.inner.call(request)),
        };
        match self.flaw {
            Flaw::SpinsInTheResponse => Box::pin(poll_fn(move |cx| {
                cx.waker().wake_by_ref();
                inner.as_mut().poll(cx)
            })),
            Flaw::SwallowsTheWake => Box::pin(poll_fn(move |_| {
                inner.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            })),
            Flaw::KeepsTheFirstWaker => {
                let mut first = None;
                Box::pin(poll_fn(move |cx| {
                    let waker: &mut Waker = first.get_or_insert_with(|| cx.waker().clone());
                    inner.as_mut().poll(&mut Context::from_waker(waker))
                }))
            }
            #[expect(clippy::disallowed_methods, reason = "the flaw that is shown")]
            Flaw::Spawns => {
                let task = tokio::spawn(inner);
                Box::pin(async move { task.await? })
            }
            Flaw::KeepsTheCallForLater => {
                let call: Call<S> = Arc::new(Mutex::new(inner));
                state.kept.lock().unwrap().push(Box::new(Arc::clone(&call)));
                Box::pin(poll_fn(move |cx| call.lock().unwrap().as_mut().poll(cx)))
            }
            Flaw::CallsTwice => Box::pin(async move {
                inner.await?;
                clone.ready().await?.call(request).await
            }),
            Flaw::ChangesResponses => {
                Box::pin(async move { inner.await.map(|Answer(number)| Answer(number + 1)) })
            }
            Flaw::ChangesErrors => {
                Box::pin(async move { inner.await.map_err(|error| error.to_string().into()) })
            }
            Flaw::ForgetsTheDeadline => {
                Box::pin(poll_fn(move |cx| Deadline::with(None, || inner.as_mut().poll(cx))))
            }
            Flaw::HoldsTheOutcomeForAPoll => Box::pin(async move {
                let outcome = inner.await;
                let mut held = true;
                poll_fn(|cx| {
                    if std::mem::take(&mut held) {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Ready(())
                })
                .await;
                outcome
            }),
            Flaw::KeepsTheSignals => {
                Box::pin(poll_fn(move |cx| Signals::watch(|| inner.as_mut().poll(cx)).0))
            }
            Flaw::RaisesTheSignalsOfAnotherCall => Box::pin(poll_fn(move |cx| {
                let outcome = ready!(inner.as_mut().poll(cx));
                if state.ended.swap(true, Ordering::SeqCst) {
                    Signals::raise_degraded();
                }
                Poll::Ready(outcome)
            })),
            _ => Box::pin(async move {
                let outcome = inner.await;
                drop(busy);
                outcome
            }),
        }
    }
}

type Call<S> = Arc<Mutex<Pin<Box<<S as Service<u32>>::Future>>>>;

#[derive(Default)]
struct State {
    in_flight: AtomicUsize,
    taken: AtomicBool,
    waiting: Mutex<VecDeque<Waker>>,
    kept: Mutex<Vec<Box<dyn std::any::Any + Send>>>,
    ended: AtomicBool,
}

impl State {
    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    fn poll_turn(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Turn> {
        if self.taken.swap(true, Ordering::SeqCst) {
            self.waiting.lock().unwrap().push_back(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Turn(Arc::clone(self)))
    }
}

/// The turn of one call. It wakes one waiter, and that one may be gone.
struct Turn(Arc<State>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::SeqCst);
        if let Some(next) = self.0.waiting.lock().unwrap().pop_front() {
            next.wake();
        }
    }
}

struct Busy(Arc<State>);

impl Busy {
    fn new(state: &Arc<State>) -> Self {
        state.in_flight.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(state))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

const LIMIT: usize = 4;
