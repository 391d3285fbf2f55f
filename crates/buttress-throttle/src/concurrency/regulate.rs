use std::fmt;

use buttress_core::{Upload, Verdict};

use crate::limit::sealed;

/// The source of a concurrency limit: the user ([`Fixed`]) or a law
/// ([`Adaptive`](crate::Adaptive)).
///
/// This trait is sealed. Use it as a bound.
pub trait Regulate: sealed::Sealed + Send + Sync + Sized + 'static {
    /// The data kept of a running call. The default value keeps nothing.
    #[doc(hidden)]
    type Sample: fmt::Debug + Default + Send + Sync + Unpin + 'static;

    /// Called when a call is admitted as the `in_flight`th under this limit.
    #[doc(hidden)]
    fn begin(&self, in_flight: u32, limit: impl FnOnce() -> u32) -> Self::Sample;

    /// Called before the inner call. Asks for the request's upload if the call is a sample.
    #[doc(hidden)]
    #[inline]
    fn watch(sample: &mut Self::Sample, upload: impl FnOnce() -> Option<Upload>) {
        let _ = (sample, upload);
    }

    /// Called when a call has ended with this verdict, or was given up (`None`). Passes a changed
    /// limit to `store`, which returns whether the limit was raised. Returns the same.
    #[doc(hidden)]
    fn end(
        &self,
        sample: &mut Self::Sample,
        verdict: Option<Verdict>,
        store: impl FnOnce(u32) -> bool,
    ) -> bool;

    /// Returns the initial limit and the same regulator in its first state.
    #[doc(hidden)]
    fn fresh(&self, limit: u32) -> (u32, Self);

    /// Whether nothing learned is worth keeping.
    #[doc(hidden)]
    fn is_idle(&self) -> bool;
}

/// The limit that the user sets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fixed;

impl sealed::Sealed for Fixed {}

impl Regulate for Fixed {
    type Sample = ();

    #[inline]
    fn begin(&self, _: u32, _: impl FnOnce() -> u32) {}

    #[inline]
    fn end(&self, (): &mut (), _: Option<Verdict>, _: impl FnOnce(u32) -> bool) -> bool {
        false
    }

    fn fresh(&self, limit: u32) -> (u32, Self) {
        (limit, Self)
    }

    fn is_idle(&self) -> bool {
        true
    }
}
