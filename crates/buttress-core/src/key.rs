use std::hash::Hash;

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
}

#[diagnostic::do_not_recommend]
impl<F, Req, K> KeyOf<Req> for F
where
    F: Fn(&Req) -> Option<K> + Clone,
    K: Hash + Eq + Clone + Send + Sync + 'static,
{
    type Key = K;

    fn key(&self, request: &Req) -> Option<K> {
        self(request)
    }
}
