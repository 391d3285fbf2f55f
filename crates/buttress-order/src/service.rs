use std::{
    fmt,
    hash::Hash,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use buttress_core::{
    Ambient, Attempt, Deadline, KeyOf, Plain, Propagate, Respond, Timer, give_back_ready,
    take_ready,
};
use buttress_state::KeyTable;
use tower_service::Service;

use crate::{
    OrderGuard, OrderHandle, ResponseFuture,
    future::{NotStarted, Waiting},
    lane::{Entered, Lane, Place, Turn},
    settings::{End, Settings},
};

/// The service of [`OrderLayer`](crate::OrderLayer).
pub struct Order<S, M = Plain, K = (), F = ()> {
    inner: S,
    lanes: Arc<KeyTable<K, Lane>>,
    key: F,
    settings: Arc<Settings>,
    mode: M,
}

impl<S, M, K, F> Order<S, M, K, F> {
    pub(crate) const fn new(
        inner: S,
        lanes: Arc<KeyTable<K, Lane>>,
        key: F,
        settings: Arc<Settings>,
        mode: M,
    ) -> Self {
        Self { inner, lanes, key, settings, mode }
    }

    /// Returns the handle of this service's turns and counters, which are the layer's unless the
    /// layer is [`per_service`](crate::OrderLayer::per_service).
    pub fn handle(&self) -> OrderHandle<K> {
        OrderHandle::new(&self.lanes, &self.settings)
    }
}

impl<S, Req, M, K, F> Service<Req> for Order<S, M, K, F>
where
    S: Service<Req> + Clone,
    M: Respond<Req, S::Response, S::Error> + Propagate<Req>,
    F: KeyOf<Req, Key = K>,
    K: Hash + Eq,
{
    type Response = M::Response<OrderGuard>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, M>;

    /// The inner service's readiness. The turn is taken in `call`, because that is the order of
    /// arrival.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.settings.state.calls.fetch_add(1, Ordering::Relaxed);
        let seed = self.mode.seed(&request);
        // The lane leaves the table as an `Arc`, which keeps the key in use, and no lock is held
        // from here on.
        let begun = self.key.look_up(&request, &*self.lanes).map(Lane::begin);
        let turn = match begun {
            None => None,
            Some(Ok(turn)) => Some(turn),
            Some(Err(lane)) => match self.enter(&lane) {
                Admission::Admitted(turn) => Some(turn),
                Admission::Waiting(place, limit) => {
                    let waiting = self.wait(place, limit, request);
                    return self.not_started(NotStarted::Waiting(waiting), seed);
                }
                Admission::Refused(end) => {
                    return self.not_started(NotStarted::Refused(end), seed);
                }
            },
        };
        let future = self.inner.call(request);
        ResponseFuture::running(future, turn, seed, self.mode.clone(), Arc::clone(&self.settings))
    }
}

/// The way of a call that found another call of its key.
enum Admission {
    Admitted(Turn),
    /// The call waits, until the deadline at most.
    Waiting(Place, Option<Deadline>),
    Refused(End),
}

impl<S: Clone, M: Clone, K, F> Order<S, M, K, F> {
    #[cold]
    fn enter(&mut self, lane: &Arc<Lane>) -> Admission {
        let limit = Deadline::current();
        let end = match limit {
            // A spare call is never queued. It supersedes nothing, because the call that it stands
            // in for may be the one that runs.
            _ if Attempt::current().is_spare() => End::Spare,
            // A call that can no longer be served supersedes no call that can.
            Some(deadline) if deadline.has_passed() => End::Expired(deadline),
            _ => match lane.enter() {
                Entered::Running(turn) => return Admission::Admitted(turn),
                Entered::Waiting(place) => return Admission::Waiting(place, limit),
                Entered::Full => End::Full,
            },
        };
        self.settings.note(end);
        give_back_ready(&mut self.inner);
        Admission::Refused(end)
    }

    /// Gives the reservation back, and makes the call wait with a clone that has reserved nothing.
    #[cold]
    fn wait<Req>(&mut self, place: Place, limit: Option<Deadline>, request: Req) -> Waiting<S, Req>
    where
        M: Propagate<Req>,
    {
        let announced = self.mode.deadline(&request);
        let ready = take_ready(&mut self.inner);
        let inner = ready.clone();
        // The readied instance may hold a permit of a limit that the running call needs for a
        // further attempt.
        drop(ready);
        let (ambient, timer) = (Ambient::current(), Timer::new());
        Waiting { inner, request, ambient, limit, announced, timer, place }
    }

    #[cold]
    fn not_started<Req>(
        &self,
        not_started: NotStarted<S, Req>,
        seed: M::Seed,
    ) -> ResponseFuture<S, Req, M>
    where
        S: Service<Req>,
        M: Respond<Req, S::Response, S::Error>,
    {
        ResponseFuture::not_started(
            not_started,
            seed,
            self.mode.clone(),
            Arc::clone(&self.settings),
        )
    }
}

/// The clone shares the turns. `K` need not be `Clone`.
impl<S: Clone, M: Clone, K, F: Clone> Clone for Order<S, M, K, F> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            lanes: Arc::clone(&self.lanes),
            key: self.key.clone(),
            settings: Arc::clone(&self.settings),
            mode: self.mode.clone(),
        }
    }
}

impl<S: fmt::Debug, M: fmt::Debug, K, F> fmt::Debug for Order<S, M, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("inner", &self.inner)
            .field("settings", &self.settings)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
