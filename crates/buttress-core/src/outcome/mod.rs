mod classify;
mod rejection;
mod seed_hint;
mod verdict;

pub use self::classify::{By, ByMode, Classify, Judge};
pub use self::rejection::{BoxError, Origin, Reason, Rejection};
pub use self::seed_hint::SeedHint;
pub use self::verdict::{RetryHint, Verdict};
