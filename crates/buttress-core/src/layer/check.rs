use tower_service::Service;

/// Asks the compiler why something is not a service.
///
/// `.oneshot()` and `.ready()` on a misfit say only that their bounds are not satisfied.
/// `.check::<Request>()` prints the bound that is missing.
#[doc(alias("debug_handler", "unsatisfied trait bound"))]
pub trait Check: Sized {
    /// Returns the service unchanged, if it is one for requests of type `Req`.
    fn check<Req>(self) -> Self
    where
        Self: Service<Req>,
    {
        self
    }
}

impl<S> Check for S {}
