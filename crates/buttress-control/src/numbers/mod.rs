//! The numbers that all laws share.

pub(crate) mod nanos;
mod random;
pub(crate) mod ratio;

pub use self::nanos::Nanos;
pub use self::random::Random;
pub use self::ratio::Ratio;
