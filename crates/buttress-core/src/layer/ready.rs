use std::mem;

use tower_service::Service;

/// Takes the instance that was polled ready and leaves a clone in its place.
///
/// The instance that was ready is the one to call; the clone has reserved nothing.
pub fn take_ready<S: Clone>(service: &mut S) -> S {
    let fresh = service.clone();
    mem::replace(service, fresh)
}

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
