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

/// A request body that can be sent more than once, complete each time.
///
/// A streaming body is read once and recorded, trailers included. The next attempt reads the part
/// that an attempt left unread.
#[diagnostic::on_unimplemented(
    message = "the request body `{Self}` cannot be sent twice",
    label = "this body can be read only once",
    note = "box it first: `axum::body::Body`, `tonic::body::Body`, `UnsyncBoxBody<Bytes, BoxError>` (with the feature of that crate, where there is one), or `Full<Bytes>`"
)]
pub trait ReplayBody: Sized + 'static {
    /// The copy of a body that is kept until the last attempt.
    type Saved: Send;

    /// Prepares the first attempt, and returns the copy of the body. `None` if the body states more
    /// than `cap` bytes.
    ///
    /// A streaming body is replaced by one that records what is read. A body that turns out to be
    /// longer than `cap` is sent to its end, but not again.
    fn save(&mut self, cap: usize) -> Option<Self::Saved>;

    /// Returns the whole body again. `None` if an attempt still reads it, if it failed, or if it
    /// exceeded the limit.
    fn again(saved: &Self::Saved) -> Option<Self>;
}

impl<E> ReplayBody for UnsyncBoxBody<Bytes, E>
where
    E: 'static,
{
    type Saved = Recording<Self>;

    fn save(&mut self, cap: usize) -> Option<Self::Saved> {
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

    fn save(&mut self, cap: usize) -> Option<Self::Saved> {
        tee::record(self, cap, Self::new)
    }

    fn again(saved: &Self::Saved) -> Option<Self> {
        tee::play(saved, Self::new)
    }
}

#[cfg(feature = "axum")]
impl ReplayBody for axum_core::body::Body {
    type Saved = Recording<Self>;

    fn save(&mut self, cap: usize) -> Option<Self::Saved> {
        tee::record(self, cap, |tee| Self::new(tee.map_err(bare)))
    }

    fn again(saved: &Self::Saved) -> Option<Self> {
        tee::play(saved, |tee| Self::new(tee.map_err(bare)))
    }
}

#[cfg(feature = "tonic")]
impl ReplayBody for tonic::body::Body {
    type Saved = Recording<Self>;

    fn save(&mut self, cap: usize) -> Option<Self::Saved> {
        tee::record(self, cap, Self::new)
    }

    fn again(saved: &Self::Saved) -> Option<Self> {
        tee::play(saved, Self::new)
    }
}

impl ReplayBody for Full<Bytes> {
    type Saved = Self;

    #[inline]
    fn save(&mut self, cap: usize) -> Option<Self> {
        fits(self, cap).then(|| self.clone())
    }

    fn again(saved: &Self) -> Option<Self> {
        Some(saved.clone())
    }
}

impl<D: Buf + 'static> ReplayBody for Empty<D> {
    type Saved = ();

    #[inline]
    fn save(&mut self, _: usize) -> Option<()> {
        Some(())
    }

    fn again((): &()) -> Option<Self> {
        Some(Self::new())
    }
}

impl ReplayBody for String {
    type Saved = Self;

    #[inline]
    fn save(&mut self, cap: usize) -> Option<Self> {
        fits(self, cap).then(|| self.clone())
    }

    fn again(saved: &Self) -> Option<Self> {
        Some(saved.clone())
    }
}

/// A request without a body.
impl ReplayBody for () {
    type Saved = ();

    #[inline]
    fn save(&mut self, _: usize) -> Option<()> {
        Some(())
    }

    fn again((): &()) -> Option<()> {
        Some(())
    }
}
