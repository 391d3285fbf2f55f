/// How an error reaches several callers. This trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot give a `{E}` to more than one caller",
    note = "`.share_errors()` is for errors that are `Clone`; for any other, use `.share_errors_with(|error: &Error| -> Option<Error> ..)`, or `.map_err(Arc::new)` below this layer"
)]
pub trait ShareError<E>: Clone + sealed::Sealed {
    /// Returns an error for a further caller, or `None` if that caller must make a call of its own.
    #[doc(hidden)]
    fn share(&self, error: &E) -> Option<E>;
}

/// Does not share errors: each caller gets an error of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnsharedErrors;

impl<E> ShareError<E> for UnsharedErrors {
    #[inline]
    fn share(&self, _: &E) -> Option<E> {
        None
    }
}

/// Shares errors by cloning them.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClonedErrors;

#[diagnostic::do_not_recommend]
impl<E: Clone> ShareError<E> for ClonedErrors {
    #[inline]
    fn share(&self, error: &E) -> Option<E> {
        Some(error.clone())
    }
}

/// Shares the errors for which a function returns a copy.
#[derive(Clone, Copy, Debug)]
pub struct MappedErrors<F>(pub(crate) F);

#[diagnostic::do_not_recommend]
impl<F, E> ShareError<E> for MappedErrors<F>
where
    F: Fn(&E) -> Option<E> + Clone,
{
    #[inline]
    fn share(&self, error: &E) -> Option<E> {
        (self.0)(error)
    }
}

mod sealed {
    use super::{ClonedErrors, MappedErrors, UnsharedErrors};

    pub trait Sealed {}

    impl Sealed for UnsharedErrors {}
    impl Sealed for ClonedErrors {}
    impl<F> Sealed for MappedErrors<F> {}
}
