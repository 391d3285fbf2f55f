use tower_service::Service;

/// Makes the compiler name the trait bound that a service misses.
///
/// `.oneshot()` and `.ready()` report only that their bounds are not satisfied.
/// `.check::<Request>()` names the missing bound.
#[doc(alias("debug_handler", "unsatisfied trait bound"))]
pub trait Check: Sized {
    /// Returns the service unchanged, if it accepts requests of type `Req`.
    fn check<Req>(self) -> Self
    where
        Self: Service<Req>,
    {
        self
    }
}

impl<S> Check for S {}
