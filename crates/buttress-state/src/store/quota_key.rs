use buttress_core::StoreKey;

/// Returns the bytes that name a limit in an [`Ask`](super::Ask): the bytes of
/// `(instance, key)` as a [`StoreKey`].
///
/// `instance` is the name of the layer. The limit of a layer without keys has the key `()`. `None`
/// is the limit that all keys without room in the layer share.
///
/// ```
/// use buttress_state::quota_key;
///
/// assert_eq!(quota_key("eu", Some(&7_u16)), [2, b'e', b'u', 1, 0, 7]);
/// assert_eq!(quota_key("eu", Some(&())), [2, b'e', b'u', 1]);
/// assert_eq!(quota_key::<u16>("eu", None), [2, b'e', b'u', 0]);
/// ```
pub fn quota_key<K: StoreKey + ?Sized>(instance: &str, key: Option<&K>) -> Vec<u8> {
    let mut bytes = Vec::new();
    (instance, key).write(&mut bytes);
    bytes
}
