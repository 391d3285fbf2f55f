mod store_key;
mod wanted_freshness;

use std::{borrow::Borrow, hash::Hash};

use crate::Plain;

pub use self::store_key::StoreKey;
pub use self::wanted_freshness::WantedFreshness;

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

    /// Finds the key of `request` in `table`. `None` as for [`key`](Self::key).
    ///
    /// Default: the table gets an owned key. A key that is made of borrowed parts of the request does
    /// better with [`KeyLookup::find_by`]: then only a key that is new to the table is allocated.
    #[inline]
    fn look_up<T: KeyLookup<Self::Key>>(&self, request: &Req, table: T) -> Option<T::Found> {
        Some(table.find(self.key(request)?))
    }

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
    /// responses, and closes its flights to new callers. If processes share a cache, the hash must be
    /// the same in all of them and in every version of the program. Default: `None`.
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

/// A key whose type does not depend on the request.
///
/// A layer takes such a key by `per(key)`, and anything else by `keyed(key)`. A key that supports
/// several types of requests needs `per`: for `keyed`, the compiler cannot tell which of them is
/// meant. The service then asks for `F: KeyOf<Req, Key = <F as FixedKey>::Key>`.
///
/// ```
/// use buttress_core::{FixedKey, KeyOf};
///
/// #[derive(Clone)]
/// struct Shard;
///
/// impl FixedKey for Shard {
///     type Key = u8;
/// }
///
/// impl KeyOf<u64> for Shard {
///     type Key = u8;
///     fn key(&self, row: &u64) -> Option<u8> { Some(row.to_le_bytes()[0]) }
/// }
///
/// impl KeyOf<String> for Shard {
///     type Key = u8;
///     fn key(&self, row: &String) -> Option<u8> { row.bytes().last() }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "the type of the keys of `{Self}` may depend on the request",
    note = "give a closure `|request: &Request| -> Option<Key>` to `.keyed(..)`; `.per(..)` takes a type that implements `FixedKey`"
)]
pub trait FixedKey: Clone {
    /// The key of every request.
    type Key: Hash + Eq + Clone + Send + Sync + 'static;
}

/// A table in which a value is found by its key. See [`KeyOf::look_up`].
pub trait KeyLookup<K> {
    /// The found value.
    type Found;

    /// Finds the value of `key`.
    fn find(self, key: K) -> Self::Found;

    /// Finds the value of a borrowed key, and calls `own` if the table does not hold the key.
    ///
    /// `own` must return a key that is equal to the borrowed key.
    fn find_by<'a, Q>(self, key: &'a Q, own: impl FnOnce(&'a Q) -> K) -> Self::Found
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized;
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
