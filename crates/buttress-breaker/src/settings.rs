use std::{sync::Arc, time::Duration};

use buttress_control::{CircuitOpen, Random};
use buttress_core::{Enforcement, Origin, Reason, Rejection, StateScope};

/// The options of a layer that are not rules of its circuits.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) origin: Origin,
    pub(crate) enforcement: Enforcement,
    pub(crate) scope: StateScope,
    /// How long a service must have had for a call without an answer to be its failure. `None`:
    /// until the deadline.
    pub(crate) patience: Option<Duration>,
    /// Shared by all services, also under `per_service`: with a generator per service, a seed would
    /// give the circuits of all services the same intervals.
    pub(crate) random: Arc<Random>,
}

impl Settings {
    pub(crate) fn new() -> Self {
        Self {
            origin: Origin::new("breaker"),
            enforcement: Enforcement::Enforce,
            scope: StateScope::PerLayer,
            patience: None,
            random: Arc::new(Random::seeded(fastrand::u64(..))),
        }
    }

    /// Reports a call that the circuit does not admit. Returns whether the call is rejected, which it
    /// is not in observe mode.
    #[cold]
    pub(crate) fn report_rejected(&self, open: CircuitOpen) -> bool {
        let (instance, retry_after) = (self.origin.name(), open.retry_after);
        let observed = self.enforcement == Enforcement::Observe;
        tracing::debug!(name: "breaker.rejected", target: "buttress", instance, ?retry_after, observed);
        !observed
    }

    /// Reports a spare call that the circuit does not admit. Returns as
    /// [`report_rejected`](Self::report_rejected) does.
    ///
    /// At trace: the call that the spare one accompanies goes on, so nothing has failed yet.
    #[cold]
    pub(crate) fn report_spare_refused(&self, open: CircuitOpen) -> bool {
        let (instance, retry_after) = (self.origin.name(), open.retry_after);
        let observed = self.enforcement == Enforcement::Observe;
        tracing::trace!(name: "breaker.spare_refused", target: "buttress", instance, ?retry_after, observed);
        !observed
    }

    pub(crate) fn rejection(&self, open: CircuitOpen) -> Rejection {
        let rejection = Rejection::new(Reason::CircuitOpen, self.origin.clone());
        open.retry_after.into_iter().fold(rejection, Rejection::after)
    }
}
