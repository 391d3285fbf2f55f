use std::fmt;

use buttress_core::{Upload, Verdict};

use crate::limit::sealed;

/// Who sets the limit of a concurrency limit: the user ([`Fixed`]), or a law ([`Adaptive`]).
///
/// This trait is sealed. Use it as a bound.
pub trait Regulate: sealed::Sealed + Send + Sync + Sized + 'static {
    /// What is remembered of a call while it runs. The default is nothing.
    #[doc(hidden)]
    type Sample: fmt::Debug + Default + Send + Sync + Unpin + 'static;

    /// A call begins, with so many in flight and this limit.
    #[doc(hidden)]
    fn begin(&self, in_flight: u32, limit: u32) -> Self::Sample;

    /// The call is about to be made. Asks for its upload, if the call is a sample.
    #[doc(hidden)]
    #[inline]
    fn watch(sample: &mut Self::Sample, upload: impl FnOnce() -> Option<Upload>) {
        let _ = (sample, upload);
    }

    /// A call has ended with this verdict, or was given up. `store` is told of a limit that changed,
    /// and says whether it was raised; so does this.
    #[doc(hidden)]
    fn end(
        &self,
        sample: &mut Self::Sample,
        verdict: Option<Verdict>,
        store: impl FnOnce(u32) -> bool,
    ) -> bool;

    /// The same in its first state, and the limit it starts with.
    #[doc(hidden)]
    fn fresh(&self, limit: u32) -> (u32, Self);

    /// Whether it has learned nothing that is worth keeping.
    #[doc(hidden)]
    fn is_idle(&self) -> bool;
}

/// The limit is what it was set to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fixed;

impl sealed::Sealed for Fixed {}

impl Regulate for Fixed {
    type Sample = ();

    #[inline]
    fn begin(&self, _: u32, _: u32) {}

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
