use std::{
    task::{Context, Poll},
    time::Duration,
};

use crate::{Criticality, Deadline, Plain, Propagate, Quota, Rejection, SeedHint, Verdict};

/// Passes a response on, or answers a call in place of the service.
///
/// The error type of the service never changes: a rejection becomes an error that the service could
/// have returned, or a response of its protocol.
///
/// # Seeds
///
/// `Seed` is state captured from the request, because the request is gone when the outcome is
/// known. The layer calls [`seed`](Self::seed) before the service, and passes the seed to
/// [`admit`](Self::admit) or [`reject`](Self::reject). The seeds of [`Judge`](crate::Judge),
/// [`Classify`](crate::Classify) and [`Expire`](crate::Expire) are the same for other questions.
/// [`seeds`](crate::seeds) captures the first two.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer for a service with the error `{E}`",
    label = "this mode has no way to reject a call of this service",
    note = "for `http::Request` and `reqwest::Request`, add `.http()` to the layer: it then answers with a response",
    note = "otherwise let the error implement `From<buttress_core::Rejection>`, or put `.map_err(BoxError::from)` below this layer"
)]
pub trait Respond<Req, Res, E>: Clone {
    /// State captured from the request for a later response, such as its protocol.
    type Seed: Send;

    /// The response that the layer returns, with `G` inside if the response outlives its head.
    type Response<G: Guard>;

    /// Whether [`admit`](Self::admit) keeps its guard. If not, a layer need not create a guard.
    const KEEPS_GUARD: bool = true;

    /// Captures the seed from `request`.
    fn seed(&self, request: &Req) -> Self::Seed;

    /// Captures the seed and reads the deadline of `request`, for a layer that needs both.
    ///
    /// Default: [`seed`](Self::seed) and [`Propagate::deadline`]. A mode that searches headers
    /// answers all from one search.
    #[inline]
    fn seed_and_deadline(&self, request: &Req) -> SeedAndDeadline<Self::Seed>
    where
        Self: Propagate<Req>,
    {
        let (seed, deadline) = (self.seed(request), self.deadline(request));
        SeedAndDeadline { seed, deadline, announces: true }
    }

    /// Captures the seed and passes the criticality of `request` on, for a layer that needs both.
    ///
    /// Returns the criticality that the request carried. Writes the same, or otherwise the
    /// [current](Criticality::current) one.
    ///
    /// Default: [`seed`](Self::seed), [`Propagate::criticality`] and
    /// [`Propagate::set_criticality`]. A mode that searches headers answers all from one search.
    #[inline]
    fn seed_and_criticality(&self, request: &mut Req) -> (Self::Seed, Option<Criticality>)
    where
        Self: Propagate<Req>,
    {
        let (seed, asked) = (self.seed(request), self.criticality(request));
        self.set_criticality(request, asked.unwrap_or_else(Criticality::current));
        (seed, asked)
    }

    /// Returns what `seed` tells [`Classify::seed_hinted`](crate::Classify::seed_hinted) of this
    /// mode about the request.
    ///
    /// Default: [`SeedHint::NONE`].
    #[inline]
    fn hint(&self, seed: &Self::Seed) -> SeedHint {
        let _ = seed;
        SeedHint::NONE
    }

    /// Passes the service's `response` on. The response keeps `guard` until its end. If a response
    /// has no end of its own, the guard is dropped at once.
    fn admit<G: Guard>(
        &self,
        seed: Self::Seed,
        response: Res,
        guard: Option<G>,
    ) -> Self::Response<G>;

    /// Answers in place of the service.
    fn reject<G: Guard>(&self, seed: Self::Seed, why: Rejection) -> Result<Self::Response<G>, E>;

    /// Reports to the caller the rates that the call counted against, if the protocol has a way to
    /// say so.
    ///
    /// Default: does nothing.
    fn advertise<G: Guard>(&self, response: &mut Self::Response<G>, quotas: &[Quota]) {
        let _ = (response, quotas);
    }

    /// Returns whether an inner layer made `response`. That layer has given its verdict.
    ///
    /// Default: `false`.
    fn is_rejection(&self, response: &Res) -> bool {
        let _ = response;
        false
    }

    /// Returns whether `error` means that the service's own timer fired, for a deadline that was
    /// announced to the service and that has `remaining` left here.
    ///
    /// Default: `false`.
    fn timed_out(&self, error: &E, remaining: Duration) -> bool {
        let _ = (error, remaining);
        false
    }
}

/// The seed and the deadline of a request, see [`Respond::seed_and_deadline`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedAndDeadline<Seed> {
    /// The seed of [`Respond::seed`].
    pub seed: Seed,
    /// The deadline that the request carries.
    pub deadline: Option<Deadline>,
    /// Whether [`Propagate::set_deadline`] may change the request, or fail. If not, the layer need
    /// not call that method.
    pub announces: bool,
}

/// A value that a layer holds until a response ends: a permit, a count, a deadline. A layer that
/// holds nothing uses `()`.
///
/// A response body polls the inner body [within](Self::within) the guard. If a frame is ready, the
/// body asks [`poll_stop`](Self::poll_stop) before passing the frame on. If no frame is ready, the
/// body asks [`poll_cut`](Self::poll_cut). Once either is ready, the inner body and the guard are
/// dropped, and the response ends with the rejection. The end and an error of the inner body are
/// passed on without asking, and the guard is told how the body [ended](Self::end).
pub trait Guard: Send + Sync + Unpin + 'static {
    /// Ready once no further frame may be passed on. Polled for each frame that is ready.
    ///
    /// Default: never ready.
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        let _ = cx;
        Poll::Pending
    }

    /// Ready once the rest of the response must be cut off. Polled after the body, and only if the
    /// body is pending.
    ///
    /// Default: never ready.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        let _ = cx;
        Poll::Pending
    }

    /// Reports the verdict on the end of the body: once, right before the guard is dropped.
    ///
    /// | end of the body | verdict |
    /// |---|---|
    /// | last frame, or a body that has ended with the head | [`Success`](Verdict::Success) |
    /// | trailers | that of their `grpc-status`, as in a head; without one [`Success`](Verdict::Success) |
    /// | error | that of a [`Rejection`] inside, otherwise [`Transient`](Verdict::Transient) |
    /// | cut off by this guard itself | not called |
    /// | dropped before its end, or panicked | not called |
    ///
    /// The deadline of [`within`](Self::within) is not ambient here. Default: does nothing.
    fn end(&mut self, verdict: Verdict) {
        let _ = verdict;
    }

    /// Runs one poll of the body with its ambient values.
    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        f()
    }
}

/// The guard of a layer that holds nothing.
impl Guard for () {}

#[diagnostic::do_not_recommend]
impl<Req, Res, E: From<Rejection>> Respond<Req, Res, E> for Plain {
    type Seed = ();
    type Response<G: Guard> = Res;
    const KEEPS_GUARD: bool = false;

    #[inline]
    fn seed(&self, _: &Req) {}

    #[inline]
    fn admit<G: Guard>(&self, (): (), response: Res, _: Option<G>) -> Res {
        response
    }

    fn reject<G: Guard>(&self, (): (), why: Rejection) -> Result<Res, E> {
        Err(why.into())
    }
}
