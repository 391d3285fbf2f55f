use std::{error::Error, fmt, sync::Arc};

use buttress_core::{BoxError, Origin, Reason, Rejection};

use crate::message::body_error::behind;

/// The error of a reader of a shared body that fell too far behind the others.
///
/// If a body exceeds [`Http::max_shared_body`](crate::Http::max_shared_body), or the bytes that the
/// layer has left for all bodies, only a window of that size is held. The window moves on without a
/// reader that does not read for 10 ms while others wait, or that holds them up for 1 s in all
/// before it has caught up. That reader receives this error. [`SharedBody`](crate::SharedBody) has
/// the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response is too long to be held for a reader that is this far behind")
    }
}

impl Error for TooLong {}

/// The failure of a body, for each of its readers.
#[derive(Clone, Debug)]
pub(super) enum BodyFailure {
    Error(Arc<dyn Error + Send + Sync>),
    Panicked,
}

impl BodyFailure {
    /// The failure of a body with this error. If the body of a shared response is inside another
    /// one, its error is wrapped once.
    pub(super) fn of(error: BoxError) -> Self {
        match behind(error.as_ref()).downcast_ref::<SharedError>() {
            Some(SharedError(error)) => Self::Error(Arc::clone(error)),
            None => Self::Error(error.into()),
        }
    }
}

impl From<BodyFailure> for BoxError {
    fn from(failure: BodyFailure) -> Self {
        match failure {
            BodyFailure::Error(error) => Box::new(SharedError(error)),
            // Only dedup shares bodies, and the body does not know the name of the layer's
            // instance.
            BodyFailure::Panicked => Rejection::new(Reason::Panicked, Origin::new("dedup")).into(),
        }
    }
}

/// One reader's handle of an error that all readers receive. The error itself is its source.
#[derive(Debug)]
struct SharedError(Arc<dyn Error + Send + Sync>);

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body of a shared response failed")
    }
}

impl Error for SharedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}

/// The error of a body that was abandoned, or that is read by its own source.
#[derive(Debug)]
pub(super) struct Abandoned;

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shared response does not go on for this reader")
    }
}

impl Error for Abandoned {}

/// The error of a body with a frame that is neither data nor trailers.
#[derive(Debug)]
pub(super) struct Unknown;

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame of an unknown kind cannot be shared")
    }
}

impl Error for Unknown {}
