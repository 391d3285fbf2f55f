use std::{mem, time::Duration};

/// Takes the instance that was polled ready and leaves a clone in its place.
///
/// Call the instance that was ready. The clone has reserved nothing.
pub fn take_ready<S: Clone>(inner: &mut S) -> S {
    let fresh = inner.clone();
    mem::replace(inner, fresh)
}

/// Replaces the instance that was polled ready by a clone, and drops its reservation.
///
/// For a call that is rejected after readiness: otherwise the handle keeps the reservation, such
/// as a permit of a `ConcurrencyLimit`, until its next call.
#[inline]
pub fn give_back_ready<S: Clone>(inner: &mut S) {
    *inner = inner.clone();
}

/// The longest wait for readiness of a call that has failed and has no deadline: 60 s. The call then
/// returns the outcome that it has.
pub const MAX_READINESS_WAIT: Duration = Duration::from_secs(60);
