use super::LimitTemplate;

/// A limit of which each key of type `K` can have its own.
///
/// A limit of this process takes any key. The rate of a [`Fleet`](crate::Fleet) takes a
/// [`StoreKey`](buttress_core::StoreKey), because other processes must know the key too.
///
/// This trait is sealed. Use it as a bound.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot have a limit for each key of type `{K}`",
    note = "the key of a fleet's rate implements `buttress_core::StoreKey`, as strings, integers and tuples do"
)]
pub trait LimitPerKey<K>: LimitTemplate {
    /// Writes the bytes of a key. `None`: the limit does not need them.
    #[doc(hidden)]
    fn writer() -> Option<KeyWriter<K>>;
}

/// Appends the bytes of a key.
pub(crate) type KeyWriter<K> = fn(&K, &mut Vec<u8>);

/// A limit that this process keeps alone: every [`Limit`](super::Limit) but the rate of a
/// [`Fleet`](crate::Fleet).
///
/// This trait is sealed. Use it as a bound.
pub trait LocalLimit: LimitTemplate {}

#[diagnostic::do_not_recommend]
impl<K, L: LocalLimit> LimitPerKey<K> for L {
    fn writer() -> Option<KeyWriter<K>> {
        None
    }
}
