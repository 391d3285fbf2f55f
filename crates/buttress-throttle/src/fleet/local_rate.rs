use super::{Fleet, FleetCells};
use crate::{RateLimit, limit::LimitTemplate, rate::CellSupply};

/// A rate that this process keeps alone, and that a [`Fleet`] can keep instead: [`RateLimit`].
///
/// This trait is sealed. Use it as a bound.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a rate that a fleet can take over",
    note = "`.fleet(..)` is an option of `ThrottleLayer::rate` and `rates`, and goes before `.keyed(..)`"
)]
pub trait LocalRate: LimitTemplate {
    /// The same rate, kept by a fleet.
    #[doc(hidden)]
    type InFleet;

    #[doc(hidden)]
    fn in_fleet(&self, fleet: Fleet) -> Self::InFleet;
}

impl<W: Clone> LocalRate for RateLimit<W> {
    type InFleet = RateLimit<W, FleetCells>;

    fn in_fleet(&self, fleet: Fleet) -> Self::InFleet {
        self.clone().over(|rates| FleetCells::new(rates.rates(), fleet))
    }
}
