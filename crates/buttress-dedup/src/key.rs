use std::hash::Hash;

use buttress_core::{By, ByMode, KeyOf, WantedFreshness};

/// The source of keys in a layer of mode `M`: the mode ([`ByMode`]), or a closure or [`KeyOf`] of yours
/// ([`By`]).
///
/// This trait is sealed. To define keys, implement [`KeyOf`] or pass a closure to
/// [`DedupLayer::keyed`](crate::DedupLayer::keyed).
#[diagnostic::on_unimplemented(
    message = "this layer cannot tell which requests of type `{Req}` are the same",
    note = "for `http::Request` and `reqwest::Request`, add `.http()` to the layer",
    note = "otherwise let the request be `Hash + Eq + Clone`, or use `DedupLayer::keyed(|request: &Request| -> Option<Key> ..)`"
)]
pub trait KeySource<M, Req>: Clone + sealed::Sealed {
    /// The key. Requests with equal keys share a flight and a cache entry.
    type Key: Hash + Eq + Clone + Send + Sync + 'static;

    /// Returns the key of `request`, or `None` if the request bypasses the layer.
    #[doc(hidden)]
    fn key(&self, mode: &M, request: &Req) -> Option<Self::Key>;

    /// Returns the key of `request`, and how fresh a cached response must be. See
    /// [`KeyOf::key_and_freshness`].
    #[doc(hidden)]
    fn key_and_freshness(&self, mode: &M, request: &Req) -> Option<(Self::Key, WantedFreshness)>;

    /// Returns the resource of `key`. See [`KeyOf::resource`].
    #[doc(hidden)]
    fn resource(&self, mode: &M, key: &Self::Key) -> Option<u64>;

    /// Returns the bytes that `key` takes. See [`KeyOf::weight`].
    #[doc(hidden)]
    fn weight(&self, mode: &M, key: &Self::Key) -> usize;

    /// Returns the resource that `request` changes. See [`KeyOf::invalidates`].
    #[doc(hidden)]
    fn invalidates(&self, mode: &M, request: &Req) -> Option<u64>;
}

#[diagnostic::do_not_recommend]
impl<M: KeyOf<Req>, Req> KeySource<M, Req> for ByMode {
    type Key = M::Key;

    #[inline]
    fn key(&self, mode: &M, request: &Req) -> Option<M::Key> {
        mode.key(request)
    }

    #[inline]
    fn key_and_freshness(&self, mode: &M, request: &Req) -> Option<(M::Key, WantedFreshness)> {
        mode.key_and_freshness(request)
    }

    #[inline]
    fn resource(&self, mode: &M, key: &M::Key) -> Option<u64> {
        mode.resource(key)
    }

    fn weight(&self, mode: &M, key: &M::Key) -> usize {
        mode.weight(key)
    }

    #[inline]
    fn invalidates(&self, mode: &M, request: &Req) -> Option<u64> {
        mode.invalidates(request)
    }
}

#[diagnostic::do_not_recommend]
impl<M, F: KeyOf<Req>, Req> KeySource<M, Req> for By<F> {
    type Key = F::Key;

    #[inline]
    fn key(&self, _: &M, request: &Req) -> Option<F::Key> {
        self.0.key(request)
    }

    #[inline]
    fn key_and_freshness(&self, _: &M, request: &Req) -> Option<(F::Key, WantedFreshness)> {
        self.0.key_and_freshness(request)
    }

    #[inline]
    fn resource(&self, _: &M, key: &F::Key) -> Option<u64> {
        self.0.resource(key)
    }

    fn weight(&self, _: &M, key: &F::Key) -> usize {
        self.0.weight(key)
    }

    #[inline]
    fn invalidates(&self, _: &M, request: &Req) -> Option<u64> {
        self.0.invalidates(request)
    }
}

mod sealed {
    use super::{By, ByMode};

    pub trait Sealed {}

    impl Sealed for ByMode {}
    impl<F> Sealed for By<F> {}
}
