use std::sync::Arc;

/// An outcome in the form in which it is cached.
#[derive(Debug)]
#[non_exhaustive]
pub enum CachedOutcome<R, E> {
    /// A response, in the form that several callers can share.
    Response(R),
    /// An error that may be shared.
    Error(Arc<E>),
}

impl<R: Clone, E> Clone for CachedOutcome<R, E> {
    fn clone(&self) -> Self {
        match self {
            Self::Response(response) => Self::Response(response.clone()),
            Self::Error(error) => Self::Error(Arc::clone(error)),
        }
    }
}
