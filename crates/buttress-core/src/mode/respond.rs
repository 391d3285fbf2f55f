use std::{
    task::{Context, Poll},
    time::Duration,
};

use crate::{Plain, Quota, Rejection};

/// How a layer hands on a response, and how it answers in the service's stead.
///
/// The error type never changes: a rejection becomes an error the service could have returned, or a
/// response of its protocol.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer for a service with the error `{E}`",
    label = "this mode has no way to reject a call of this service",
    note = "for `http::Request` and `reqwest::Request`, add `.http()` to the layer: it then answers with a response",
    note = "otherwise let the error implement `From<buttress_core::Rejection>`, or put `.map_err(BoxError::from)` below this layer"
)]
pub trait Respond<Req, Res, E>: Clone {
    /// What must be remembered of a request to answer it later, such as its protocol.
    type Seed: Send;

    /// The response the layer returns. `G` lives in it where a response outlives its head.
    type Response<G: Guard>;

    /// Whether [`admit`](Self::admit) keeps the guard it is given. Where it does not, a layer need
    /// not make one.
    const KEEPS_GUARD: bool = true;

    /// Remembers what is needed of `request`.
    fn seed(&self, request: &Req) -> Self::Seed;

    /// Hands on the service's `response`. `guard` is kept until the response has ended; where a
    /// response has no end of its own, it is dropped at once.
    fn admit<G: Guard>(
        &self,
        seed: Self::Seed,
        response: Res,
        guard: Option<G>,
    ) -> Self::Response<G>;

    /// Answers in the service's stead.
    fn reject<G: Guard>(&self, seed: Self::Seed, why: Rejection) -> Result<Self::Response<G>, E>;

    /// Tells the caller of the rates its call counted against, where the protocol has words for it.
    fn advertise<G: Guard>(&self, response: &mut Self::Response<G>, quotas: &[Quota]) {
        let _ = (response, quotas);
    }

    /// Whether `response` was made by a layer further in, which has given its verdict.
    fn is_rejection(&self, response: &Res) -> bool {
        let _ = response;
        false
    }

    /// Whether `error` says that the service's own timer fired, for a deadline it was told of and
    /// that has `remaining` left here.
    fn timed_out(&self, error: &E, remaining: Duration) -> bool {
        let _ = (error, remaining);
        false
    }
}

/// What a layer holds for as long as a response lasts: a permit, a count, a deadline.
///
/// A body polls the body inside [within](Self::within) the guard. If a frame is ready, the body asks
/// [`poll_stop`](Self::poll_stop) before it hands the frame on; if none is, it asks
/// [`poll_cut`](Self::poll_cut). Once either is ready, the body inside is dropped with the guard, and
/// the response ends with the rejection. An end and an error of the body inside are handed on unasked.
pub trait Guard: Send + Sync + Unpin + 'static {
    /// Ready once no further frame may be handed on. Polled for each frame that is ready.
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        let _ = cx;
        Poll::Pending
    }

    /// Ready once the rest of the response must be cut off. Polled after the body, and only when
    /// that is pending.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        let _ = cx;
        Poll::Pending
    }

    /// Runs one poll of the body, with what is ambient for it.
    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        f()
    }
}

/// The guard of a layer that holds nothing for the response.
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
