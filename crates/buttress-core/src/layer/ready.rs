use std::mem;

/// Takes the instance that was polled ready and leaves a clone in its place.
///
/// The instance that was ready is the one to call; the clone has reserved nothing.
pub fn take_ready<S: Clone>(service: &mut S) -> S {
    let fresh = service.clone();
    mem::replace(service, fresh)
}
