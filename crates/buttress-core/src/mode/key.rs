use std::hash::Hash;

use crate::{Plain, WantedFreshness};

/// Computes the key of a request. Requests with equal keys are the same.
///
/// Closures `Fn(&Req) -> Option<K>` implement this trait.
#[diagnostic::on_unimplemented(
    message = "`{Self}` gives no key for requests of type `{Req}`",
    note = "give the layer a closure `|request: &Request| -> Option<Key>` whose key is `Hash + Eq + Clone + Send + Sync + 'static`"
)]
pub trait KeyOf<Req>: Clone {
    /// The key of a request.
    type Key: Hash + Eq + Clone + Send + Sync + 'static;

    /// Returns the key of `request`, or `None` if the request must not be shared.
    fn key(&self, request: &Req) -> Option<Self::Key>;

    /// Returns the key of `request`, and how fresh a cached response must be. `None` as for
    /// [`key`](Self::key).
    ///
    /// Default: the key, and no demand on freshness.
    #[inline]
    fn key_and_freshness(&self, request: &Req) -> Option<(Self::Key, WantedFreshness)> {
        Some((self.key(request)?, WantedFreshness::default()))
    }

    /// Returns a hash of the resource that `key` belongs to, or `None` if there is none.
    ///
    /// A request that [invalidates](Self::invalidates) the resource outdates all its cached
    /// responses, and closes its flights to new callers. Default: `None`.
    fn resource(&self, key: &Self::Key) -> Option<u64> {
        let _ = key;
        None
    }

    /// Returns the size of `key` in bytes. A key that owns memory must count that too. Otherwise a
    /// cache with a limit in bytes exceeds the limit.
    ///
    /// Default: the size of the type.
    fn weight(&self, key: &Self::Key) -> usize {
        size_of_val(key)
    }

    /// Returns the [`resource`](Self::resource) that `request` changes if it succeeds.
    ///
    /// Default: `None`.
    fn invalidates(&self, request: &Req) -> Option<u64> {
        let _ = request;
        None
    }
}

/// The request is its own key.
#[diagnostic::do_not_recommend]
impl<Req> KeyOf<Req> for Plain
where
    Req: Hash + Eq + Clone + Send + Sync + 'static,
{
    type Key = Req;

    #[inline]
    fn key(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

#[diagnostic::do_not_recommend]
impl<F, Req, K> KeyOf<Req> for F
where
    F: Fn(&Req) -> Option<K> + Clone,
    K: Hash + Eq + Clone + Send + Sync + 'static,
{
    type Key = K;

    #[inline]
    fn key(&self, request: &Req) -> Option<K> {
        self(request)
    }
}
