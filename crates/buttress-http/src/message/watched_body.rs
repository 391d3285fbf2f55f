use std::{
    any::Any,
    convert::Infallible,
    io, mem,
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::{BoxError, Upload};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};

#[cfg(any(feature = "axum", feature = "reqwest"))]
use super::body_error::bare;
#[cfg(any(feature = "axum", feature = "reqwest"))]
use http_body_util::BodyExt;

/// Watches a streaming `body`.
///
/// The type of the body stays the same, so only a type that can hold any other body is watched. The
/// types are asked in turn.
pub(crate) fn watch(body: &mut dyn Any) -> Option<Upload> {
    boxed(body).or_else(|| of_axum(body)).or_else(|| of_tonic(body)).or_else(|| of_hyper(body))
}

/// Wraps `body` into a body that reports its progress, unless it has ended.
pub(crate) fn wrap<B: Wrap>(body: &mut B) -> Option<Upload> {
    if body.is_end_stream() {
        return None;
    }
    let upload = Upload::begin();
    *body = B::wrap(Watched { inner: mem::take(body), upload: upload.clone() });
    Some(upload)
}

/// A body type that can hold another body of its own type.
pub(crate) trait Wrap: Body<Data = Bytes> + Default + Unpin + 'static {
    fn wrap(watched: Watched<Self>) -> Self;
}

/// A body that reports when its reader waits for it.
#[derive(Debug)]
pub(crate) struct Watched<B> {
    inner: B,
    upload: Upload,
}

impl<B> Body for Watched<B>
where
    B: Body + Unpin,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Pending => self.upload.pause(),
            Poll::Ready(Some(Ok(frame))) => {
                // A body of known length is not polled again, and no frame follows trailers.
                if frame.is_trailers() || self.inner.is_end_stream() {
                    self.upload.finish();
                } else {
                    self.upload.resume();
                }
            }
            Poll::Ready(Some(Err(_))) => self.upload.fail(),
            Poll::Ready(None) => self.upload.finish(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for Watched<B> {
    fn drop(&mut self) {
        self.upload.abandon();
    }
}

impl<E: 'static> Wrap for UnsyncBoxBody<Bytes, E> {
    fn wrap(watched: Watched<Self>) -> Self {
        Self::new(watched)
    }
}

impl<E: 'static> Wrap for BoxBody<Bytes, E> {
    fn wrap(watched: Watched<Self>) -> Self {
        Self::new(watched)
    }
}

fn boxed(body: &mut dyn Any) -> Option<Upload> {
    boxed_with::<BoxError>(body)
        .or_else(|| boxed_with::<Infallible>(body))
        .or_else(|| boxed_with::<io::Error>(body))
}

fn boxed_with<E: 'static>(body: &mut dyn Any) -> Option<Upload> {
    as_type::<UnsyncBoxBody<Bytes, E>>(body).or_else(|| as_type::<BoxBody<Bytes, E>>(body))
}

fn as_type<B: Wrap>(body: &mut dyn Any) -> Option<Upload> {
    body.downcast_mut::<B>().and_then(wrap)
}

#[cfg(feature = "axum")]
impl Wrap for axum_core::body::Body {
    fn wrap(watched: Watched<Self>) -> Self {
        Self::new(watched.map_err(bare))
    }
}

#[cfg(feature = "axum")]
fn of_axum(body: &mut dyn Any) -> Option<Upload> {
    as_type::<axum_core::body::Body>(body).or_else(|| boxed_with::<axum_core::Error>(body))
}

#[cfg(not(feature = "axum"))]
fn of_axum(_: &mut dyn Any) -> Option<Upload> {
    None
}

#[cfg(feature = "tonic")]
impl Wrap for tonic::body::Body {
    fn wrap(watched: Watched<Self>) -> Self {
        Self::new(watched)
    }
}

#[cfg(feature = "tonic")]
fn of_tonic(body: &mut dyn Any) -> Option<Upload> {
    as_type::<tonic::body::Body>(body).or_else(|| boxed_with::<tonic::Status>(body))
}

#[cfg(not(feature = "tonic"))]
fn of_tonic(_: &mut dyn Any) -> Option<Upload> {
    None
}

#[cfg(feature = "reqwest")]
impl Wrap for reqwest::Body {
    fn wrap(watched: Watched<Self>) -> Self {
        Self::wrap(watched.map_err(bare))
    }
}

/// hyper's own body can hold no other, so the progress of an unfinished body is unknown.
#[cfg(feature = "hyper")]
fn of_hyper(body: &mut dyn Any) -> Option<Upload> {
    if let Some(incoming) = body.downcast_ref::<hyper::body::Incoming>() {
        return (!incoming.is_end_stream()).then(Upload::unknown);
    }
    of_reqwest(body).or_else(|| boxed_with::<hyper::Error>(body))
}

#[cfg(not(feature = "hyper"))]
fn of_hyper(_: &mut dyn Any) -> Option<Upload> {
    None
}

#[cfg(feature = "reqwest")]
fn of_reqwest(body: &mut dyn Any) -> Option<Upload> {
    match body.downcast_mut::<reqwest::Body>() {
        Some(body) if body.as_bytes().is_some() => None,
        Some(body) => wrap(body),
        None => boxed_with::<reqwest::Error>(body),
    }
}

#[cfg(all(feature = "hyper", not(feature = "reqwest")))]
fn of_reqwest(_: &mut dyn Any) -> Option<Upload> {
    None
}
