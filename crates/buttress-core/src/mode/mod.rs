mod blend;
mod codec;
mod expire;
mod key;
mod mark_gave_up;
mod propagate;
mod quota;
mod replay;
mod respond;
mod share;
mod upload;

pub use self::blend::{Blend, Degraded, Source};
pub use self::codec::Codec;
#[cfg(feature = "json")]
pub use self::codec::Json;
pub use self::expire::{Expire, Lifetime};
pub use self::key::{FixedKey, KeyLookup, KeyOf, StoreKey, WantedFreshness};
pub use self::mark_gave_up::MarkGaveUp;
pub use self::propagate::{NoTimeLeft, Propagate};
pub use self::quota::Quota;
pub use self::replay::Replay;
pub use self::respond::{Guard, Respond, SeedAndDeadline};
pub use self::share::{Age, ByteBudget, Progress, Reader, Share};
pub use self::upload::{Upload, UploadWait};

/// The mode for any request and response: a rejection is an `Err`.
///
/// The error type must implement `From<Rejection>`, as [`BoxError`](crate::BoxError),
/// [`std::io::Error`] and [`Rejection`](crate::Rejection) do. A retry needs `Request: Clone`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plain;

/// Replaces the mode of a layer. `.http()` is `bind(Http::new())`.
///
/// The state of the layer is kept: the handles of both layers report the same limits and counts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer that can take the mode `{M}`",
    note = "`.http()` belongs on a layer of buttress, before it wraps a service"
)]
pub trait Bind<M> {
    /// The layer in its new mode.
    type Bound;

    /// Returns the layer in the mode `mode`.
    fn bind(self, mode: M) -> Self::Bound;
}
