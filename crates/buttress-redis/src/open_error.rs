use std::{error::Error, fmt};

/// A store cannot be opened: its URL or its namespace is wrong.
///
/// The text never holds the URL, because a URL may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The namespace is not 1 to 64 characters of `[a-z0-9._-]`.
    Namespace,
    /// The URL cannot be read, or asks for a feature that is not compiled in, such as `tls`.
    Url,
    /// A cluster has no database but 0, is not reached over a Unix socket, and needs a URL.
    Cluster,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespace => "the namespace is not 1 to 64 characters of `[a-z0-9._-]`",
            Self::Url => "the URL of the store cannot be used",
            Self::Cluster => "the URLs are not those of a cluster",
        })
    }
}

impl Error for OpenError {}
