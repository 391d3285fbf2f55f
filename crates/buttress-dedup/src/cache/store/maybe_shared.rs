#[cfg(feature = "shared-cache")]
use crate::SharedCache;
use crate::{Cache, Memory, NoCache, SharedCacheHandle};

/// A cache or a store of entries that may be a [`SharedCache`](crate::SharedCache).
///
/// In a stack of `buttress-stack`, a store of your own needs this trait, without a method:
/// `impl MaybeShared for MyStore {}`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whether it is a `SharedCache`",
    note = "in a stack, a store of your own needs `impl MaybeShared for {Self} {{}}`, without a method"
)]
pub trait MaybeShared {
    /// Returns the handle of the shared cache. Default: `None`, for any other store.
    fn shared_cache(&self) -> Option<SharedCacheHandle> {
        None
    }
}

impl MaybeShared for NoCache {}

impl MaybeShared for Memory {}

#[cfg(feature = "shared-cache")]
impl<F, C> MaybeShared for SharedCache<F, C> {
    fn shared_cache(&self) -> Option<SharedCacheHandle> {
        Some(self.handle())
    }
}

impl<St: MaybeShared, J> MaybeShared for Cache<St, J> {
    fn shared_cache(&self) -> Option<SharedCacheHandle> {
        self.store.shared_cache()
    }
}
