mod classify;
mod rejection;

pub use self::classify::{By, ByMode, Classify, Hint, Judge, Verdict};
pub use self::rejection::{BoxError, Origin, Reason, Rejection};
