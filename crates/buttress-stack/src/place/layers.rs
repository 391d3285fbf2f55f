use std::{hash::Hash, sync::Arc};

use buttress_breaker::{BreakerLayer, Circuits};
use buttress_core::Measure;
use buttress_deadline::{DeadlineHandle, DeadlineLayer};
use buttress_dedup::{DedupHandle, DedupLayer, MaybeShared, SharedCacheHandle};
use buttress_fallback::{FallbackHandle, FallbackLayer};
use buttress_hedge::{HedgeHandle, HedgeLayer};
use buttress_order::OrderLayer;
use buttress_retry::{RetryHandle, RetryLayer};
use buttress_state::Budget;
use buttress_throttle::ThrottleLayer;

use super::{
    AttemptPlace, BreakerPlace, DeadlinePlace, DedupPlace, FallbackPlace, HedgePlace, OrderPlace,
    Place, RetryPlace, ThrottlePlace, limits::StackLimit, sealed,
};
use crate::handle::{BreakerControl, ThrottleControl};

impl<M, A, J> sealed::Sealed for FallbackLayer<M, A, J> {}

impl<M, A, J> Place for FallbackLayer<M, A, J> {
    fn renamed(self, name: String) -> Self {
        self.named(name)
    }
}

impl<M, A, J> FallbackPlace for FallbackLayer<M, A, J> {
    fn handle(&self) -> Option<FallbackHandle> {
        Some(Self::handle(self))
    }
}

impl<M> sealed::Sealed for DeadlineLayer<M> {}

impl<M> Place for DeadlineLayer<M> {
    fn renamed(self, name: String) -> Self {
        self.named(name)
    }
}

impl<M> DeadlinePlace for DeadlineLayer<M> {
    fn handle(&self) -> Option<DeadlineHandle> {
        Some(Self::handle(self))
    }
}

impl<M> AttemptPlace for DeadlineLayer<M> {
    fn handle(&self) -> Option<DeadlineHandle> {
        Some(Self::handle(self))
    }
}

impl<M, K, C: Clone, E> sealed::Sealed for DedupLayer<M, K, C, E> {}

impl<M, K, C: Clone, E> Place for DedupLayer<M, K, C, E> {
    fn renamed(self, name: String) -> Self {
        self.named(name)
    }
}

impl<M, K, C: Clone + MaybeShared, E> DedupPlace for DedupLayer<M, K, C, E> {
    fn handle(&self) -> Option<DedupHandle> {
        Some(Self::handle(self))
    }

    fn shared_cache(&self) -> Option<SharedCacheHandle> {
        Self::shared_cache(self)
    }
}

impl<M, P, K: Hash + Eq, F> sealed::Sealed for OrderLayer<M, P, K, F> {}

impl<M, P, K: Hash + Eq, F> Place for OrderLayer<M, P, K, F> {
    fn renamed(self, name: String) -> Self {
        self.named(name)
    }
}

impl<M, P, K, F> OrderPlace for OrderLayer<M, P, K, F>
where
    K: Hash + Eq + Send + Sync + 'static,
{
    fn handle(&self) -> Option<Arc<dyn Measure>> {
        Some(Arc::new(Self::handle(self)))
    }
}

impl<M, J> sealed::Sealed for RetryLayer<M, J> {}

impl<M, J> Place for RetryLayer<M, J> {
    fn renamed(self, name: String) -> Self {
        self.named(name)
    }

    fn reseeded(self, seed: u64) -> Self {
        self.seed(seed)
    }
}

impl<M, J> RetryPlace for RetryLayer<M, J> {
    fn handle(&self) -> Option<RetryHandle> {
        Some(Self::handle(self))
    }

    fn budget(&self) -> Option<Budget> {
        Some(self.handle().budget().clone())
    }

    fn paid_from(self, budget: Budget) -> Self {
        self.budget(budget)
    }
}

impl<M, F, J> sealed::Sealed for HedgeLayer<M, F, J> {}

impl<M, F, J> Place for HedgeLayer<M, F, J> {
    fn renamed(self, name: String) -> Self {
        self.named(name)
    }
}

impl<M, F, J> HedgePlace for HedgeLayer<M, F, J> {
    fn handle(&self) -> Option<HedgeHandle> {
        Some(Self::handle(self))
    }

    fn shared(&self) -> Option<Budget> {
        self.shared_budget().cloned()
    }

    fn sharing(self, budget: Option<Budget>) -> Self {
        self.share(budget)
    }
}

impl<M, C: Circuits, J> sealed::Sealed for BreakerLayer<M, C, J> {}

impl<M, C: Circuits, J> Place for BreakerLayer<M, C, J> {
    fn renamed(self, name: String) -> Self {
        self.named(name)
    }

    fn reseeded(self, seed: u64) -> Self {
        self.seed(seed)
    }
}

impl<M, C, J> BreakerPlace for BreakerLayer<M, C, J>
where
    C: Circuits<View: Send + Sync + 'static>,
{
    fn handle(&self) -> Option<Arc<dyn BreakerControl>> {
        Some(Arc::new(Self::handle(self)))
    }
}

impl<M, L: StackLimit, J> sealed::Sealed for ThrottleLayer<M, L, J> {}

impl<M, L: StackLimit, J> Place for ThrottleLayer<M, L, J> {
    fn renamed(self, name: String) -> Self {
        self.named(name)
    }

    fn reseeded(self, seed: u64) -> Self {
        L::reseed(self, seed)
    }
}

impl<M, L: StackLimit, J> ThrottlePlace for ThrottleLayer<M, L, J> {
    fn handle(&self) -> Option<Arc<dyn ThrottleControl>> {
        Some(L::control(Self::handle(self)))
    }
}
