/// How one error is given to many callers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot give a `{E}` to more than one caller",
    note = "`.share_errors()` is for errors that are `Clone`; for any other, use `.share_error(|error: &Error| -> Option<Error> ..)`, or `.map_err(Arc::new)` below this layer"
)]
pub trait ShareError<E>: Clone + sealed::Sealed {
    /// An error for one more caller. `None` if that one must find out for itself.
    fn share(&self, error: &E) -> Option<E>;
}

/// Errors are not shared: each caller has its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnsharedErrors;

impl<E> ShareError<E> for UnsharedErrors {
    #[inline]
    fn share(&self, _: &E) -> Option<E> {
        None
    }
}

/// Errors are shared by cloning them.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClonedErrors;

#[diagnostic::do_not_recommend]
impl<E: Clone> ShareError<E> for ClonedErrors {
    #[inline]
    fn share(&self, error: &E) -> Option<E> {
        Some(error.clone())
    }
}

/// Errors are shared as the user's function says.
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
