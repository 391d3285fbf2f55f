use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::OpenError;

/// The names of a namespace. They hold hashes, so that no data of users is in a name.
#[derive(Clone)]
pub(crate) struct Names(Arc<str>);

impl Names {
    pub(crate) fn new(namespace: &str) -> Result<Self, OpenError> {
        let is_valid = (1..=64).contains(&namespace.len())
            && namespace
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
        if is_valid { Ok(Self(namespace.into())) } else { Err(OpenError::Namespace) }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.0
    }

    /// The name `{namespace:tag}:suffix`. The part in braces decides the hash slot.
    pub(crate) fn name<T: fmt::Display, S: fmt::Display>(
        &self,
        tag: T,
        suffix: S,
    ) -> Name<'_, T, S> {
        Name { namespace: &self.0, tag, suffix }
    }

    /// The name of a channel.
    pub(crate) fn channel(&self, number: usize) -> String {
        format!("{}:{number}", self.0)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A name in the store.
pub(crate) struct Name<'a, T, S> {
    namespace: &'a str,
    tag: T,
    suffix: S,
}

impl<T: fmt::Display, S: fmt::Display> fmt::Display for Name<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}:{}}}:{}", self.namespace, self.tag, self.suffix)
    }
}

/// The first 16 bytes of a SHA-256, in base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tag([u8; 22]);

impl Tag {
    /// Hashes `parts`. `domain` and the length before each part keep two lists of parts from having
    /// the same bytes.
    pub(crate) fn of(domain: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in [domain.as_bytes(), &[FORMAT]].iter().chain(parts) {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(part);
        }
        let whole = hash.finalize();
        let mut text = [b'-'; 22];
        // 16 bytes are always 22 characters.
        let _ = URL_SAFE_NO_PAD.encode_slice(whole.split_at(16).0, &mut text);
        Self(text)
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        text.try_into().ok().map(Self)
    }

    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The version of all that is stored. Another version uses other names.
const FORMAT: u8 = 1;
