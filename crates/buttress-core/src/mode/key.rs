use std::hash::Hash;

use crate::{Plain, WantedFreshness};

/// What makes two requests the same.
///
/// Closures `Fn(&Req) -> Option<K>` implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` gives no key for requests of type `{Req}`",
    note = "give the layer a closure `|request: &Request| -> Option<Key>` whose key is `Hash + Eq + Clone + Send + Sync + 'static`"
)]
pub trait KeyOf<Req>: Clone {
    /// The key.
    type Key: Hash + Eq + Clone + Send + Sync + 'static;

    /// The key of `request`, or `None` if it is like no other.
    fn key(&self, request: &Req) -> Option<Self::Key>;

    /// The key of `request`, and how fresh a kept answer must be for it. `None` as for
    /// [`key`](Self::key).
    ///
    /// Default: the key, and any answer that may be given out.
    #[inline]
    fn key_and_freshness(&self, request: &Req) -> Option<(Self::Key, WantedFreshness)> {
        Some((self.key(request)?, WantedFreshness::default()))
    }

    /// What `key` is about, as a hash: requests that [`change`](Self::invalidates) it make all answers
    /// about it outdated, and what is in flight of it takes no more callers. `None` where there is no such
    /// thing.
    fn resource(&self, key: &Self::Key) -> Option<u64> {
        let _ = key;
        None
    }

    /// What `key` takes, in bytes. A key with memory of its own must say so, or a cache whose bytes are
    /// bounded takes more.
    fn weight(&self, key: &Self::Key) -> usize {
        size_of_val(key)
    }

    /// The [`subject`](Self::resource) that `request` changes, if it succeeds.
    fn invalidates(&self, request: &Req) -> Option<u64> {
        let _ = request;
        None
    }
}

/// A request is its own key.
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
