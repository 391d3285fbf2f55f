use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_control::Random;
use buttress_core::{
    Criticality, Enforcement, Extent, Origin, Reason, Rejection, Signals, StateScope,
};

use super::Refusal;

/// Options of a layer that are not part of its limit.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) origin: Origin,
    pub(crate) extent: Extent,
    pub(crate) enforcement: Enforcement,
    pub(crate) quota_headers: QuotaHeaders,
    pub(crate) scope: StateScope,
    /// The retry delay of calls that a concurrency limit rejects.
    pub(crate) retry_after: Option<Duration>,
    /// Shared by all services, also under `per_service`: with a generator per service, a seed would
    /// give the rejected calls of all services the same delays.
    pub(crate) random: Arc<Random>,
    /// Rejected calls by criticality. Shared by the services that share the limit, and by the
    /// handles of all its keys.
    pub(crate) rejected: Arc<[AtomicU64; 4]>,
}

impl Settings {
    pub(crate) fn new() -> Self {
        Self {
            origin: Origin::new("throttle"),
            extent: Extent::UntilEnd,
            enforcement: Enforcement::Enforce,
            quota_headers: QuotaHeaders::Silent,
            scope: StateScope::PerLayer,
            retry_after: None,
            random: Arc::new(Random::seeded(fastrand::u64(..))),
            rejected: Arc::default(),
        }
    }

    /// Returns the settings for a further service, with counters of its own under `per_service`.
    pub(crate) fn for_service(self: &Arc<Self>) -> Arc<Self> {
        match self.scope {
            StateScope::PerLayer => Arc::clone(self),
            StateScope::PerService => {
                Arc::new(Self { rejected: Arc::default(), ..Self::clone(self) })
            }
        }
    }

    /// Counts rejections from zero. Clones made before keep their counters.
    pub(crate) fn reset_rejected(&mut self) {
        self.rejected = Arc::default();
    }

    /// Counts and reports a rejection, also in observe mode.
    #[cold]
    pub(crate) fn refuse(&self, refusal: Refusal, criticality: Criticality) -> Refusal {
        let retry_after = refusal.retry_after.or_else(|| self.delay(refusal.reason));
        let refusal = Refusal { retry_after, ..refusal };
        if let Some(count) = self.rejected.get(criticality.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let (instance, reason) = (self.origin.name(), refusal.detail);
        let (criticality, retry_after) = (criticality.as_str(), refusal.retry_after);
        let observed = self.enforcement == Enforcement::Observe;
        tracing::debug!(name: "throttle.rejected", target: "buttress", instance, %reason, criticality, ?retry_after, observed);
        refusal
    }

    /// The retry delay of an overload, spread so that the rejected calls do not all come back
    /// together.
    fn delay(&self, reason: Reason) -> Option<Duration> {
        let delay = self.retry_after.filter(|_| reason == Reason::Overloaded)?;
        Some(delay.saturating_add((delay / 2).mul_f64(self.random.draw())))
    }

    /// Reports a call that has to wait.
    #[cold]
    pub(crate) fn queue(&self, criticality: Criticality) {
        let (instance, criticality) = (self.origin.name(), criticality.as_str());
        tracing::trace!(name: "throttle.queued", target: "buttress", instance, criticality);
    }

    pub(crate) fn rejection(&self, refusal: &Refusal) -> Rejection {
        let rejection = Rejection::new(refusal.reason, self.origin.clone());
        let rejection = refusal.retry_after.into_iter().fold(rejection, Rejection::after);
        let deadline = refusal.deadline.inspect(|deadline| Signals::raise_deadline(*deadline));
        deadline.into_iter().fold(rejection, Rejection::enforcing)
    }
}

/// Whether responses carry the quota of the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuotaHeaders {
    Silent,
    Quotas,
}
