use std::{
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Attempt, ByMode, Judge, MarkGaveUp, Plain, Propagate, Replay, SeedHint};
use tower_service::Service;

use crate::{
    HedgeHandle, ResponseFuture, Skip, SkipNone, WithheldReason,
    call::{HedgedCall, KeptRequest},
    settings::{OnFailure, Settings},
    state::CallClock,
};

/// The service of [`HedgeLayer`](crate::HedgeLayer).
#[derive(Clone, Debug)]
pub struct Hedge<S, M = Plain, F = SkipNone, J = ByMode> {
    inner: S,
    settings: Arc<Settings>,
    mode: M,
    skip: F,
    judge: J,
}

impl<S, M, F, J> Hedge<S, M, F, J> {
    pub(crate) const fn new(inner: S, settings: Arc<Settings>, mode: M, skip: F, judge: J) -> Self {
        Self { inner, settings, mode, skip, judge }
    }

    /// Returns a handle to the live numbers of this service, its clones, and the services that
    /// share its counters.
    pub fn handle(&self) -> HedgeHandle {
        HedgeHandle::new(&self.settings)
    }
}

impl<S, Req, M, F, J> Service<Req> for Hedge<S, M, F, J>
where
    S: Service<Req> + Clone,
    M: Replay<Req> + Propagate<Req> + MarkGaveUp<S::Response>,
    F: Skip<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, M, J>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[expect(
        clippy::inline_always,
        reason = "a call is a sixth cheaper if its future is made in place"
    )]
    #[inline(always)]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let state = &self.settings.state;
        let (mut clock, mut kept) = (CallClock::default(), KeptRequest::Released);
        let mut hint = SeedHint::NONE;
        if self.settings.is_off() || is_hedge() || self.skip.skips(&request) {
            state.note_call();
        } else {
            self.settings.budget.deposit();
            let can_hedge;
            (clock, can_hedge) = state.begin_call();
            // While no hedge can be due, the request is not copied.
            if can_hedge || self.settings.on_failure == OnFailure::Hedge {
                let saved = self.mode.save(&mut request);
                hint = saved.as_ref().map_or(hint, |saved| self.mode.saved_hint(saved));
                kept = self.keep(saved);
            }
        }
        let seed = self.judge.seed_hinted(&self.mode, &request, hint);
        // The instance that is ready. Hedges go to the clone in `kept`.
        let future = self.inner.call(request);
        let (mode, judge) = (self.mode.clone(), self.judge.clone());
        ResponseFuture::new(future, HedgedCall::new(&self.settings, mode, judge, seed, kept, clock))
    }
}

impl<S: Clone, M, F, J> Hedge<S, M, F, J> {
    #[inline]
    fn keep<Req>(&self, saved: Option<M::Saved>) -> KeptRequest<S, M::Saved>
    where
        M: Replay<Req>,
    {
        match saved {
            None => KeptRequest::NotKept(WithheldReason::NotReplayable),
            Some(saved) if self.mode.repeatable(&saved, false) => {
                KeptRequest::Kept(self.inner.clone(), saved)
            }
            Some(_) => KeptRequest::NotKept(WithheldReason::NotIdempotent),
        }
    }
}

/// Whether the call is a hedge of an outer layer. Such a call is not hedged again.
#[inline]
fn is_hedge() -> bool {
    Attempt::current().is_spare()
}
