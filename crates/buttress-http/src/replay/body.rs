use bytes::{Buf, Bytes};
use http_body_util::{
    Empty, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};

use super::tee::{self, Recording, fits};
#[cfg(feature = "axum")]
use crate::message::body_error::bare;
#[cfg(feature = "axum")]
use http_body_util::BodyExt;

/// The body of a request that can be sent more than once, whole each time.
///
/// A body that streams is read once and recorded as it goes, trailers and all; what an attempt left
/// unread is read by the next.
#[diagnostic::on_unimplemented(
    message = "the request body `{Self}` cannot be sent twice",
    label = "this body can be read only once",
    note = "box it first: `axum::body::Body`, `tonic::body::Body`, `UnsyncBoxBody<Bytes, BoxError>` (with the feature of that crate, where there is one), or `Full<Bytes>`"
)]
pub trait ReplayBody: Sized + 'static {
    /// What is kept of a body while the attempts last.
    type Saved: Send;

    /// Prepares the first attempt: the body to send, and what is kept of it. `None` means that it
    /// holds more than `cap` bytes.
    ///
    /// A body that turns out to hold more while it is read is sent to its end, but not again.
    fn save(self, cap: usize) -> (Self, Option<Self::Saved>);

    /// The whole body once more. `None` means that it cannot be had: an attempt still reads it, it
    /// failed, or it held more than the cap.
    fn again(saved: &Self::Saved) -> Option<Self>;
}

impl<E> ReplayBody for UnsyncBoxBody<Bytes, E>
where
    E: 'static,
{
    type Saved = Recording<Self>;

    fn save(self, cap: usize) -> (Self, Option<Self::Saved>) {
        tee::record(self, cap, Self::new)
    }

    fn again(saved: &Self::Saved) -> Option<Self> {
        tee::play(saved, Self::new)
    }
}

impl<E> ReplayBody for BoxBody<Bytes, E>
where
    E: 'static,
{
    type Saved = Recording<Self>;

    fn save(self, cap: usize) -> (Self, Option<Self::Saved>) {
        tee::record(self, cap, Self::new)
    }

    fn again(saved: &Self::Saved) -> Option<Self> {
        tee::play(saved, Self::new)
    }
}

#[cfg(feature = "axum")]
impl ReplayBody for axum_core::body::Body {
    type Saved = Recording<Self>;

    fn save(self, cap: usize) -> (Self, Option<Self::Saved>) {
        tee::record(self, cap, |tee| Self::new(tee.map_err(bare)))
    }

    fn again(saved: &Self::Saved) -> Option<Self> {
        tee::play(saved, |tee| Self::new(tee.map_err(bare)))
    }
}

#[cfg(feature = "tonic")]
impl ReplayBody for tonic::body::Body {
    type Saved = Recording<Self>;

    fn save(self, cap: usize) -> (Self, Option<Self::Saved>) {
        tee::record(self, cap, Self::new)
    }

    fn again(saved: &Self::Saved) -> Option<Self> {
        tee::play(saved, Self::new)
    }
}

impl ReplayBody for Full<Bytes> {
    type Saved = Self;

    fn save(self, cap: usize) -> (Self, Option<Self>) {
        let saved = fits(&self, cap).then(|| self.clone());
        (self, saved)
    }

    fn again(saved: &Self) -> Option<Self> {
        Some(saved.clone())
    }
}

impl<D: Buf + 'static> ReplayBody for Empty<D> {
    type Saved = ();

    fn save(self, _: usize) -> (Self, Option<()>) {
        (self, Some(()))
    }

    fn again((): &()) -> Option<Self> {
        Some(Self::new())
    }
}

impl ReplayBody for String {
    type Saved = Self;

    fn save(self, cap: usize) -> (Self, Option<Self>) {
        let saved = fits(&self, cap).then(|| self.clone());
        (self, saved)
    }

    fn again(saved: &Self) -> Option<Self> {
        Some(saved.clone())
    }
}

/// A request without a body.
impl ReplayBody for () {
    type Saved = ();

    fn save(self, _: usize) -> ((), Option<()>) {
        ((), Some(()))
    }

    fn again((): &()) -> Option<()> {
        Some(())
    }
}
