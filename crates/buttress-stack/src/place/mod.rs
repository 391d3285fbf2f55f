use std::sync::Arc;

use buttress_core::Measure;
use buttress_deadline::DeadlineHandle;
use buttress_dedup::{DedupHandle, SharedCacheHandle};
use buttress_fallback::FallbackHandle;
use buttress_hedge::HedgeHandle;
use buttress_retry::RetryHandle;
use buttress_state::Budget;

use crate::handle::{BreakerControl, ThrottleControl};

mod custom;
mod layers;
mod limits;
mod off;

pub use self::{custom::Custom, off::Off};

/// A value that can stand in a place of a stack.
///
/// This trait is sealed.
pub trait Place: sealed::Sealed + Sized {
    /// The same layer under this name.
    #[doc(hidden)]
    fn renamed(self, name: String) -> Self;

    /// The same layer with its random numbers made repeatable.
    #[doc(hidden)]
    fn reseeded(self, seed: u64) -> Self {
        let _ = seed;
        self
    }
}

/// A layer for the place of the fallback: a `FallbackLayer`, [`Off`], or a [`Custom`] layer.
///
/// This trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not belong in the place of the fallback",
    note = "`.fallback(..)` takes a `FallbackLayer`, `Off`, or a layer of your own as `Custom(layer)`"
)]
pub trait FallbackPlace: Place {
    /// The handle of a layer of buttress.
    #[doc(hidden)]
    fn handle(&self) -> Option<FallbackHandle> {
        None
    }
}

/// A layer for the place of the deadline: a `DeadlineLayer`, [`Off`], or a [`Custom`] layer.
///
/// This trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not belong in the place of the deadline",
    note = "`.deadline(..)` takes a `DeadlineLayer`, `Off`, or a layer of your own as `Custom(layer)`"
)]
pub trait DeadlinePlace: Place {
    /// The handle of a layer of buttress.
    #[doc(hidden)]
    fn handle(&self) -> Option<DeadlineHandle> {
        None
    }
}

/// A layer for the place of request coalescing: a `DedupLayer`, [`Off`], or a [`Custom`] layer.
///
/// This trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not belong in the place of request coalescing",
    note = "`.dedup(..)` takes a `DedupLayer`, `Off`, or a layer of your own as `Custom(layer)`"
)]
pub trait DedupPlace: Place {
    /// The handle of a layer of buttress.
    #[doc(hidden)]
    fn handle(&self) -> Option<DedupHandle> {
        None
    }

    /// The handle of a cache that replicas share.
    #[doc(hidden)]
    fn shared_cache(&self) -> Option<SharedCacheHandle> {
        None
    }
}

/// A layer for the place of ordering: an `OrderLayer`, [`Off`], or a [`Custom`] layer.
///
/// This trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not belong in the place of ordering",
    note = "`.order(..)` takes an `OrderLayer`, `Off`, or a layer of your own as `Custom(layer)`"
)]
pub trait OrderPlace: Place {
    /// The handle of a layer of buttress.
    #[doc(hidden)]
    fn handle(&self) -> Option<Arc<dyn Measure>> {
        None
    }
}

/// A layer for the place of the retry: a `RetryLayer`, [`Off`], or a [`Custom`] layer.
///
/// This trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not belong in the place of the retry",
    note = "`.retry(..)` takes a `RetryLayer`, `Off`, or a layer of your own as `Custom(layer)`"
)]
pub trait RetryPlace: Place {
    /// The handle of a layer of buttress.
    #[doc(hidden)]
    fn handle(&self) -> Option<RetryHandle> {
        None
    }

    /// The budget that pays for retries.
    #[doc(hidden)]
    fn budget(&self) -> Option<Budget> {
        None
    }

    /// The same layer with this budget.
    #[doc(hidden)]
    fn paid_from(self, budget: Budget) -> Self {
        let _ = budget;
        self
    }
}

/// A layer for the place of hedging: a `HedgeLayer`, [`Off`], or a [`Custom`] layer.
///
/// This trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not belong in the place of hedging",
    note = "`.hedge(..)` takes a `HedgeLayer`, `Off`, or a layer of your own as `Custom(layer)`"
)]
pub trait HedgePlace: Place {
    /// The handle of a layer of buttress.
    #[doc(hidden)]
    fn handle(&self) -> Option<HedgeHandle> {
        None
    }

    /// The budget that pays for hedges besides the layer's own.
    #[doc(hidden)]
    fn shared(&self) -> Option<Budget> {
        None
    }

    /// The same layer with this budget besides its own.
    #[doc(hidden)]
    fn sharing(self, budget: Option<Budget>) -> Self {
        let _ = budget;
        self
    }
}

/// A layer for the place of the circuit breaker: a `BreakerLayer`, [`Off`], or a [`Custom`] layer.
///
/// This trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not belong in the place of the circuit breaker",
    note = "`.breaker(..)` takes a `BreakerLayer`, `Off`, or a layer of your own as `Custom(layer)`"
)]
pub trait BreakerPlace: Place {
    /// The handle of a layer of buttress.
    #[doc(hidden)]
    fn handle(&self) -> Option<Arc<dyn BreakerControl>> {
        None
    }
}

/// A layer for the place of the throttle: a `ThrottleLayer`, [`Off`], or a [`Custom`] layer.
///
/// This trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not belong in the place of the throttle",
    note = "`.throttle(..)` takes a `ThrottleLayer`, `Off`, or a layer of your own as `Custom(layer)`"
)]
pub trait ThrottlePlace: Place {
    /// The handle of a layer of buttress.
    #[doc(hidden)]
    fn handle(&self) -> Option<Arc<dyn ThrottleControl>> {
        None
    }
}

/// A layer for the place of the attempt's deadline: a `DeadlineLayer`, [`Off`], or a [`Custom`] layer.
///
/// This trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not belong in the place of the attempt's deadline",
    note = "`.attempt(..)` takes a `DeadlineLayer`, `Off`, or a layer of your own as `Custom(layer)`"
)]
pub trait AttemptPlace: Place {
    /// The handle of a layer of buttress.
    #[doc(hidden)]
    fn handle(&self) -> Option<DeadlineHandle> {
        None
    }
}

mod sealed {
    pub trait Sealed {}
}
