use std::{error::Error, fmt, sync::Arc, time::Duration};

/// The failure of a call on a store that processes share.
///
/// A layer may depend on the [`kind`](Self::kind) and on the [delay](Self::retry_after). The text and
/// the [`source`](Error::source) are for people.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// Creates an error without a source.
    pub const fn new(kind: StoreErrorKind) -> Self {
        Self { kind, retry_after: None, source: None }
    }

    /// Sets the delay before which another call would fail too.
    ///
    /// Example: 10 s after the store refused a command that its access rules do not permit.
    pub fn after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Sets the error that led to this one.
    ///
    /// The text of `source` reaches events. So it must not hold a password.
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Returns the kind of the failure.
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Returns the delay before which another call would fail too, if that is known.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl From<StoreErrorKind> for StoreError {
    fn from(kind: StoreErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// How a call on a store failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// No reply came within the time limit. The store may have done the work.
    Timeout,
    /// There is no connection, or the connection broke. If the request was sent, the store may have
    /// done the work.
    Unavailable,
    /// The store replied that it cannot or must not do this. It did nothing.
    Rejected,
    /// The reply could not be understood. The store may have done the work.
    Corrupt,
}

impl StoreErrorKind {
    /// All kinds.
    pub const ALL: &'static [Self] =
        &[Self::Timeout, Self::Unavailable, Self::Rejected, Self::Corrupt];

    /// Returns the kind in `snake_case`, as in events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Rejected => "rejected",
            Self::Corrupt => "corrupt",
        }
    }
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "the store did not reply in time",
            Self::Unavailable => "the store is not connected",
            Self::Rejected => "the store refused the command",
            Self::Corrupt => "the reply of the store could not be understood",
        })
    }
}
