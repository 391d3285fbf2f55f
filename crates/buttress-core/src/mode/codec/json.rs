use std::io;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::Codec;

/// Writes values as JSON, for services that speak neither HTTP nor gRPC.
///
/// ```
/// use buttress_core::{Codec, Json};
/// use bytes::Bytes;
///
/// let value = ("eu".to_owned(), 7);
/// let mut out = Vec::new();
/// assert!(Json.encode(&value, &mut out, 64));
/// assert_eq!(out, *br#"["eu",7]"#);
/// assert_eq!(Json.decode(Bytes::from(out)), Some(value));
/// ```
///
/// A value is not written if it is longer than the store permits, or if JSON has no form for it,
/// such as a map with keys that are not text.
///
/// Bytes are a miss if they are not JSON, if something follows the value, or if the type refuses
/// them. A value can have several forms in JSON, so what was read may be written as other bytes.
///
/// # The type must survive
///
/// A value must read back as it was. JSON writes `NaN` and infinities as `null`, and `Some(None)` as
/// `None`.
///
/// All types have the same id. If a new version of the program changes the meaning of a field, give
/// the layer another name, or implement [`Codec`] for a type of your own with another id. A new
/// field without a default makes old values a miss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(alias("serde", "serde_json"))]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    const ID: u32 = u32::from_be_bytes(*b"JSN1");

    fn encode(&self, value: &T, out: &mut Vec<u8>, max: usize) -> bool {
        serde_json::to_writer(Bounded { out, left: max }, value).is_ok()
    }

    fn decode(&self, bytes: Bytes) -> Option<T> {
        // `from_slice` skips spaces after the value, and `encode` writes none.
        let ends_with_space = bytes.last().is_some_and(u8::is_ascii_whitespace);
        if ends_with_space { None } else { serde_json::from_slice(&bytes).ok() }
    }
}

/// Fails as soon as more than `left` bytes are written, so that a value that is too long takes no
/// memory.
struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    left: usize,
}

impl io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len());
        self.left = left.ok_or(io::ErrorKind::FileTooLarge)?;
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
