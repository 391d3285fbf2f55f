use std::{
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::{BoxError, Guard, Rejection, Verdict};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::rejection_response::{grpc_trailers, is_deadline_exceeded};
use crate::{
    Protocol,
    classify::{of_body_error, of_trailers},
    message::body_error::bare,
};

/// The body of a response that passed a layer, or the empty body of a rejection.
///
/// Holds the layer's [`Guard`] until the body has ended: with its last frame, with an error, or
/// by being dropped. Every poll runs [within](Guard::within) the guard. If the guard cuts the body
/// off, the inner body is dropped at once. A gRPC response then ends with a `grpc-status` in the
/// trailers. Any other response ends with the [`Rejection`] as the error, because its status has
/// been sent already.
///
/// The guard is [asked](Guard::poll_stop) for each ready frame, so a body that is never pending is
/// cut off too. Trailers with `grpc-status: 4` are passed on without asking, because an inner
/// deadline has ended the response already.
///
/// Right before the guard is dropped, it is told how the body [ended](Guard::end). The trailers of
/// gRPC are judged by their `grpc-status`, as the implementation of
/// [`Classify`](buttress_core::Classify) for [`Http`](crate::Http) judges a head.
///
/// The size and the end are those of the inner body. After a cut, the size is 0 and the body has
/// ended. With a guard, the inner body is asked for its end once at the head and once for each data
/// frame, and the answer holds until the next poll. So nested bodies ask a number of times that is
/// linear in their depth.
#[derive(Debug)]
#[pin_project]
pub struct ControlBody<B, G> {
    #[pin]
    // Before the guard: fields drop in this order, so a permit is not free until the work behind
    // the body is gone.
    inner: Option<B>,
    guard: Option<G>,
    protocol: Protocol,
    seen: SeenEnd,
}

/// What the inner body said of its end after its last poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SeenEnd {
    /// Not asked since.
    Unasked,
    More,
    Ended,
}

impl<B, G> ControlBody<B, G> {
    /// Creates a body without an inner body, which has ended.
    pub const fn empty() -> Self {
        Self { inner: None, guard: None, protocol: Protocol::Http, seen: SeenEnd::Ended }
    }
}

impl<B: Body, G: Guard> ControlBody<B, G> {
    /// Creates the body of a response of `protocol`, with a `guard` that lives as long.
    ///
    /// If the body has ended already, as after a 204 or a `HEAD`, the guard is told of a success and
    /// dropped at once. A `grpc-status` in the head is for the layer to judge.
    #[inline]
    pub fn new(protocol: Protocol, inner: B, mut guard: Option<G>) -> Self {
        let seen = if guard.is_some() { SeenEnd::of(&inner) } else { SeenEnd::Unasked };
        if seen == SeenEnd::Ended {
            end(&mut guard, Verdict::Success);
        }
        Self { inner: Some(inner), guard, protocol, seen }
    }
}

impl SeenEnd {
    #[inline]
    fn of(body: &impl Body) -> Self {
        if body.is_end_stream() { Self::Ended } else { Self::More }
    }
}

impl<B, G> Default for ControlBody<B, G> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B, G> Body for ControlBody<B, G>
where
    B: Body,
    B::Error: Into<BoxError>,
    G: Guard,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        *this.seen = SeenEnd::Unasked;
        let polled = match this.guard.as_ref() {
            Some(guard) => guard.within(|| inner.as_mut().poll_frame(cx)),
            None => inner.as_mut().poll_frame(cx),
        };
        // By reference, because each move of a frame copies 96 bytes.
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let Poll::Ready(why) = stop(this.guard, *this.protocol, frame, cx) else {
                if this.guard.is_some() {
                    // A body of known length is not polled again, and no frame follows trailers.
                    if let Some(trailers) = frame.trailers_ref() {
                        end(this.guard, of_trailers(trailers));
                    } else {
                        *this.seen = SeenEnd::of(&*inner);
                        if *this.seen == SeenEnd::Ended {
                            end(this.guard, Verdict::Success);
                        }
                    }
                }
                return polled.map_err(bare);
            };
            this.inner.set(None);
            *this.guard = None;
            return Poll::Ready(Some(cut(*this.protocol, why)));
        }
        let (frame, verdict) = match polled {
            Poll::Ready(Some(Err(error))) => {
                let error = bare(error);
                let judge = || of_body_error(error.as_ref());
                let verdict = this.guard.as_ref().map(|guard| guard.within(judge));
                (Some(Err(error)), verdict)
            }
            Poll::Ready(_) => (None, Some(Verdict::Success)),
            Poll::Pending => match this.guard.as_mut().map(|guard| guard.poll_cut(cx)) {
                Some(Poll::Ready(why)) => (Some(cut(*this.protocol, why)), None),
                _ => return Poll::Pending,
            },
        };
        // The inner body first: its work must be gone before the guard frees a permit.
        this.inner.set(None);
        match verdict {
            Some(verdict) => end(this.guard, verdict),
            None => *this.guard = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match (self.seen, &self.inner) {
            (SeenEnd::Unasked, Some(inner)) => inner.is_end_stream(),
            (SeenEnd::More, Some(_)) => false,
            (SeenEnd::Ended, _) | (_, None) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Tells the guard how the body ended, and drops the guard.
#[inline]
fn end<G: Guard>(guard: &mut Option<G>, verdict: Verdict) {
    // Taken out first: a guard that panics is told nothing twice.
    if let Some(mut guard) = guard.take() {
        guard.end(verdict);
    }
}

/// Ready if `frame` must not be passed on.
#[inline]
fn stop<D, G: Guard>(
    guard: &mut Option<G>,
    protocol: Protocol,
    frame: &Frame<D>,
    cx: &mut Context<'_>,
) -> Poll<Rejection> {
    match guard {
        Some(guard) if !is_timed_out(protocol, frame) => guard.poll_stop(cx),
        _ => Poll::Pending,
    }
}

/// Whether the frame itself says that a deadline has ended the response. That is the verdict
/// already.
fn is_timed_out<D>(protocol: Protocol, frame: &Frame<D>) -> bool {
    protocol == Protocol::Grpc && frame.trailers_ref().is_some_and(is_deadline_exceeded)
}

fn cut<D>(protocol: Protocol, why: Rejection) -> Result<Frame<D>, BoxError> {
    match protocol {
        Protocol::Http => Err(why.into()),
        Protocol::Grpc => Ok(Frame::trailers(grpc_trailers(&why))),
    }
}
