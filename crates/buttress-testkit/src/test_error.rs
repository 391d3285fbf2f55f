use std::{error::Error, fmt};

use buttress_core::{Reason, Rejection};

/// An error type for tests of layers: a failure, a permanent failure, or a layer's rejection.
///
/// A [`Rejection`] converts into [`Rejected`](Self::Rejected) with its [`Reason`]. The rejection's
/// origin and delay are dropped, so that a test compares errors by `==`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TestError {
    /// The inner service failed. Another attempt may succeed.
    Failed,
    /// The inner service has no response to this request. Another attempt would fail again.
    NotFound,
    /// A layer rejected the call for this reason.
    Rejected(Reason),
}

impl fmt::Display for TestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => f.write_str("failed"),
            Self::NotFound => f.write_str("not found"),
            Self::Rejected(reason) => write!(f, "rejected: {reason}"),
        }
    }
}

impl Error for TestError {}

impl From<Rejection> for TestError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection.reason())
    }
}
