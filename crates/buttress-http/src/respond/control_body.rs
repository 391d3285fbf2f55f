use std::{
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::{BoxError, Guard, Rejection};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::rejection_response::{grpc_trailers, is_deadline_exceeded};
use crate::{Protocol, message::body_error::bare};

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
/// The size and the end are those of the inner body.
#[derive(Debug)]
#[pin_project]
pub struct ControlBody<B, G> {
    #[pin]
    // Before the guard: fields drop in this order, so a permit is not free until the work behind
    // the body is gone.
    inner: Option<B>,
    guard: Option<G>,
    protocol: Protocol,
}

impl<B, G> ControlBody<B, G> {
    /// Creates a body without an inner body, which has ended.
    pub const fn empty() -> Self {
        Self { inner: None, guard: None, protocol: Protocol::Http }
    }
}

impl<B: Body, G: Guard> ControlBody<B, G> {
    /// Creates the body of a response of `protocol`, with a `guard` that lives as long.
    ///
    /// The guard is dropped at once if the body has ended already, as after a 204 or a `HEAD`.
    pub fn new(protocol: Protocol, inner: B, guard: Option<G>) -> Self {
        let guard = guard.filter(|_| !inner.is_end_stream());
        Self { inner: Some(inner), guard, protocol }
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
        let polled = match this.guard.as_ref() {
            Some(guard) => guard.within(|| inner.as_mut().poll_frame(cx)),
            None => inner.as_mut().poll_frame(cx),
        };
        let frame = match polled {
            Poll::Ready(Some(Ok(frame))) => match stop(this.guard, *this.protocol, &frame, cx) {
                Poll::Ready(why) => Some(cut(*this.protocol, why)),
                Poll::Pending => {
                    // A body of known length is not polled again, and no frame follows trailers.
                    if this.guard.is_some() && (frame.is_trailers() || inner.is_end_stream()) {
                        *this.guard = None;
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
            },
            Poll::Ready(Some(Err(error))) => Some(Err(bare(error))),
            Poll::Ready(None) => None,
            Poll::Pending => match this.guard.as_mut().map(|guard| guard.poll_cut(cx)) {
                Some(Poll::Ready(why)) => Some(cut(*this.protocol, why)),
                _ => return Poll::Pending,
            },
        };
        // The inner body first: its work must be gone before the guard frees a permit.
        this.inner.set(None);
        *this.guard = None;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
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
