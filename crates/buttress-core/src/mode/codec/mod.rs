#[cfg(feature = "json")]
mod json;

use bytes::Bytes;

#[cfg(feature = "json")]
pub use self::json::Json;

/// Writes values as bytes for a store that other processes read, and reads them back.
///
/// A store keeps bytes longer than a process runs. So another version of the program may read the
/// bytes: change [`ID`](Self::ID) with every change of the format.
///
/// ```
/// use buttress_core::Codec;
/// use bytes::Bytes;
///
/// #[derive(Clone)]
/// struct Text;
///
/// impl Codec<String> for Text {
///     const ID: u32 = 1;
///
///     fn encode(&self, value: &String, out: &mut Vec<u8>, max: usize) -> bool {
///         let fits = value.len() <= max;
///         if fits {
///             out.extend_from_slice(value.as_bytes());
///         }
///         fits
///     }
///
///     fn decode(&self, bytes: Bytes) -> Option<String> {
///         String::from_utf8(bytes.to_vec()).ok()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot write a `{T}` as bytes",
    note = "implement `buttress_core::Codec<{T}>` for a type of your own"
)]
pub trait Codec<T>: Clone + Send + Sync + 'static {
    /// The format and its version. The id is stored with each value, and a value with another id is
    /// a miss.
    const ID: u32;

    /// Appends at most `max` bytes for `value` to `out`.
    ///
    /// Returns `false` if the value is longer or cannot be written. Then the content of `out` is
    /// not used.
    fn encode(&self, value: &T, out: &mut Vec<u8>, max: usize) -> bool;

    /// Reads a value. `None` is a miss: the bytes are damaged, or of another version.
    ///
    /// Must not panic on any bytes, because other programs can write to the store.
    fn decode(&self, bytes: Bytes) -> Option<T>;
}
