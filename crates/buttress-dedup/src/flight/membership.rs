use std::{fmt, mem, sync::Arc};

use buttress_core::{Guard, MemberId};

/// A caller's membership in a flight. Dropping it leaves the flight.
pub(crate) struct Membership<F: DynFlight> {
    flight: Option<Arc<F>>,
    member: MemberId,
}

/// The operations of a member on its flight, independent of the type.
pub(crate) trait DynFlight: Send + Sync + 'static {
    /// Leaves the flight. The last member drops the work.
    fn leave(&self, member: MemberId);

    /// Runs a step of a body under the ambient values of the flight.
    fn within(&self, step: &mut dyn FnMut());
}

impl<F: DynFlight> Membership<F> {
    pub(crate) const fn new(flight: Arc<F>, member: MemberId) -> Self {
        Self { flight: Some(flight), member }
    }

    /// The flight, and the id in it. `None` once the membership has become a guard.
    #[inline]
    pub(crate) fn flight(&self) -> Option<(&Arc<F>, MemberId)> {
        Some((self.flight.as_ref()?, self.member))
    }

    /// Makes the guard that a response holds until it has ended.
    pub(crate) fn into_guard(mut self) -> Option<FlightGuard> {
        let flight = self.flight.take()?;
        Some(FlightGuard { flight, member: self.member })
    }

    /// Ends the membership without leaving, because the flight is over and removed from the table.
    #[inline]
    pub(crate) fn forget(mut self) {
        let flight = self.flight.take();
        // Skips the drop, which would only test for a flight.
        mem::forget(self);
        drop(flight);
    }
}

impl<F: DynFlight> Drop for Membership<F> {
    // Inlined, because most memberships have nothing to leave: their flight is over.
    #[inline]
    fn drop(&mut self) {
        // At most one `leave` per id, because the relay gives the ids of former members to new members. So
        // `into_guard` and `forget` take the flight out.
        if let Some(flight) = self.flight.take() {
            flight.leave(self.member);
        }
    }
}

/// A caller's membership in a flight, held until its response has ended.
///
/// While a guard exists, the rest of a shared response is read for its callers, and new callers may join.
/// Dropping the guard leaves the flight.
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
