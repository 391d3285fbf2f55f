//! The scenarios: each isolates the effect of a layer under conditions of its own.

mod arrivals;
pub(crate) mod dead_upstream;
pub(crate) mod plot;
pub(crate) mod slow_tail;
