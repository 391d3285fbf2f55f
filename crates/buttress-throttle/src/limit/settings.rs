use std::{sync::Arc, time::Duration};

use buttress_control::Random;
use buttress_core::{
    Criticality, Enforcement, Extent, Origin, Reason, Rejection, Signals, StateScope,
};

use super::{Refusal, RejectionCounts};

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
    pub(crate) rejections: Arc<RejectionCounts>,
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
            rejections: Arc::default(),
        }
    }

    /// Returns the settings for a further service, with counters of its own under `per_service`.
    pub(crate) fn for_service(self: &Arc<Self>) -> Arc<Self> {
        match self.scope {
            StateScope::PerLayer => Arc::clone(self),
            StateScope::PerService => {
                Arc::new(Self { rejections: Arc::default(), ..Self::clone(self) })
            }
        }
    }

    /// Counts rejections from zero. Clones made before keep their counters.
    pub(crate) fn reset_rejected(&mut self) {
        self.rejections = Arc::default();
    }

    /// Counts and reports a rejection, also in observe mode.
    #[cold]
    pub(crate) fn refuse(&self, refusal: Refusal, criticality: Criticality) -> Refusal {
        let refusal = self.with_delay(refusal);
        self.rejections.add(criticality);
        let (instance, reason) = (self.origin.name(), refusal.detail);
        let (criticality, retry_after) = (criticality.as_str(), refusal.retry_after);
        let observed = self.enforcement == Enforcement::Observe;
        tracing::debug!(name: "throttle.rejected", target: "buttress", instance, %reason, criticality, ?retry_after, observed);
        refusal
    }

    /// Counts and reports the refusal of a spare call, also in observe mode.
    ///
    /// At trace: the call that the spare one accompanies goes on, so nothing has failed yet.
    #[cold]
    pub(crate) fn refuse_spare(&self, refusal: Refusal, criticality: Criticality) -> Refusal {
        let refusal = self.with_delay(refusal);
        self.rejections.add_spare();
        let (instance, reason) = (self.origin.name(), refusal.detail);
        let (criticality, retry_after) = (criticality.as_str(), refusal.retry_after);
        let observed = self.enforcement == Enforcement::Observe;
        tracing::trace!(name: "throttle.spare_refused", target: "buttress", instance, %reason, criticality, ?retry_after, observed);
        refusal
    }

    fn with_delay(&self, refusal: Refusal) -> Refusal {
        let retry_after = refusal.retry_after.or_else(|| self.delay(refusal.reason));
        Refusal { retry_after, ..refusal }
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
