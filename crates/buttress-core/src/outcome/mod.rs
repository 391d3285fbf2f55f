mod classify;
mod rejection;

pub use self::classify::{By, ByMode, Classify, Judge, RetryHint, Verdict};
pub use self::rejection::{BoxError, Origin, Reason, Rejection};
