use std::{fmt, mem, sync::Arc};

use buttress_core::{Guard, MemberId};

/// A caller's membership in a flight, given up when dropped.
pub(crate) struct Membership<F: DynFlight> {
    flight: Option<Arc<F>>,
    member: MemberId,
}

/// What a member wants of its flight, whatever its type.
pub(crate) trait DynFlight: Send + Sync + 'static {
    fn leave(&self, member: MemberId);

    /// Runs one step of a body under the flight's own ambient values.
    fn within(&self, step: &mut dyn FnMut());
}

impl<F: DynFlight> Membership<F> {
    pub(crate) const fn new(flight: Arc<F>, member: MemberId) -> Self {
        Self { flight: Some(flight), member }
    }

    /// The flight, and the place in it. `None` once it has become a seat.
    #[inline]
    pub(crate) fn flight(&self) -> Option<(&Arc<F>, MemberId)> {
        Some((self.flight.as_ref()?, self.member))
    }

    /// What a response holds for as long as it lasts.
    pub(crate) fn into_guard(mut self) -> Option<FlightGuard> {
        let flight = self.flight.take()?;
        Some(FlightGuard { flight, member: self.member })
    }

    /// The flight is over and out of the table: there is nothing to leave.
    #[inline]
    pub(crate) fn forget(mut self) {
        let flight = self.flight.take();
        // Nothing is left to be dropped but the look for a flight.
        mem::forget(self);
        drop(flight);
    }
}

impl<F: DynFlight> Drop for Membership<F> {
    // To have nothing to leave is the rule, for those whose flight is over.
    #[inline]
    fn drop(&mut self) {
        if let Some(flight) = self.flight.take() {
            flight.leave(self.member);
        }
    }
}

/// A caller's seat in a flight, held until its response has ended.
///
/// While somebody sits there, the rest of a shared response is fetched for whoever reads on, and new
/// callers may join. It is given up when dropped.
pub struct FlightGuard {
    flight: Arc<dyn DynFlight>,
    member: MemberId,
}

impl Guard for FlightGuard {
    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        let mut f = Some(f);
        let mut result = None;
        self.flight.within(&mut || result = f.take().map(|f| f()));
        match result {
            Some(result) => result,
            None => unreachable!("a step is run once"),
        }
    }
}

impl Drop for FlightGuard {
    fn drop(&mut self) {
        self.flight.leave(self.member);
    }
}

impl fmt::Debug for FlightGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightGuard").finish_non_exhaustive()
    }
}
