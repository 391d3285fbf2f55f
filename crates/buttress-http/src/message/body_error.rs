use std::error::Error;

use buttress_core::BoxError;

/// The error of a body without the wrappers of the body's own type.
///
/// Each layer around reqwest and axum wraps its body into their type again, which would add another
/// wrapper each time.
pub(crate) fn bare(error: impl Into<BoxError>) -> BoxError {
    of_reqwest::bare(of_axum(error.into()))
}

/// The error behind a wrapper of this crate.
pub(crate) fn behind<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    of_reqwest::behind(error).unwrap_or(error)
}

#[cfg(feature = "axum")]
fn of_axum(mut error: BoxError) -> BoxError {
    loop {
        match error.downcast::<axum_core::Error>() {
            Ok(wrapper) => error = wrapper.into_inner(),
            Err(error) => return error,
        }
    }
}

#[cfg(not(feature = "axum"))]
fn of_axum(error: BoxError) -> BoxError {
    error
}

#[cfg(not(feature = "reqwest"))]
mod of_reqwest {
    use std::error::Error;

    use buttress_core::BoxError;

    pub(super) fn bare(error: BoxError) -> BoxError {
        error
    }

    pub(super) fn behind<'a>(_: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
        None
    }
}

#[cfg(feature = "reqwest")]
mod of_reqwest {
    use std::{error::Error, fmt};

    use buttress_core::{BoxError, Rejection};

    pub(super) fn bare(error: BoxError) -> BoxError {
        match error.downcast::<reqwest::Error>() {
            Ok(error) if error.is_body() => match cause(error.as_ref()) {
                Some(cause) => match cause.downcast_ref::<Rejection>() {
                    Some(rejection) => Box::new(rejection.clone()),
                    None => Box::new(Read(error)),
                },
                None => error,
            },
            Ok(error) => error,
            Err(error) => error,
        }
    }

    pub(super) fn behind<'a>(
        error: &'a (dyn Error + 'static),
    ) -> Option<&'a (dyn Error + 'static)> {
        error.downcast_ref::<Read>()?.source()
    }

    /// The wrapper of a reqwest error whose cause reqwest does not give away by value.
    struct Read(Box<reqwest::Error>);

    impl fmt::Display for Read {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the body could not be read")
        }
    }

    impl fmt::Debug for Read {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_tuple("Read").field(&self.source()).finish()
        }
    }

    impl Error for Read {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            cause(self.0.as_ref())
        }
    }

    /// The error behind all wrappers of reqwest's bodies. The loop ends, because each wrapper owns
    /// the next.
    fn cause(error: &reqwest::Error) -> Option<&(dyn Error + 'static)> {
        let mut next = error.source();
        while let Some(error) = next {
            next = match (error.downcast_ref::<reqwest::Error>(), error.downcast_ref::<Read>()) {
                (Some(wrapper), _) if wrapper.is_body() => wrapper.source(),
                (_, Some(wrapper)) => wrapper.0.source(),
                _ => return Some(error),
            };
        }
        None
    }
}
