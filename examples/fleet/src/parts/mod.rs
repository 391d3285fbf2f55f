//! The parts of the example.

pub(crate) mod adversary;
pub(crate) mod keys;
pub(crate) mod load;
pub(crate) mod outage;
pub(crate) mod soak;
