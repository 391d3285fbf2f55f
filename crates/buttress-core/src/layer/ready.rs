use std::mem;

/// Takes the instance that was polled ready and leaves a clone in its place.
///
/// The instance that was ready is the one to call. The clone has reserved nothing.
pub fn take_ready<S: Clone>(inner: &mut S) -> S {
    let fresh = inner.clone();
    mem::replace(inner, fresh)
}

/// Replaces the instance that was polled ready by a clone, and drops what it had reserved.
///
/// Call it when a call is rejected after readiness: otherwise the handle keeps the reservation, such
/// as a permit of a `ConcurrencyLimit`, until its next call.
#[inline]
pub fn give_back_ready<S: Clone>(inner: &mut S) {
    *inner = inner.clone();
}
