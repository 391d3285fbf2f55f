use std::{borrow::Cow, time::Duration};

/// The state of a rate that a call counted against, as the caller may see it.
///
/// A layer passes quotas to [`Respond::advertise`](crate::Respond::advertise). `Http` writes them
/// into headers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// The name of the rate.
    pub name: Cow<'static, str>,
    /// The number of cells per `window`.
    pub quota: u64,
    /// The time that `quota` refers to.
    pub window: Duration,
    /// The number of cells left now. With a burst, this can be more or less than `quota`.
    pub remaining: u64,
    /// The time until all cells are back, if no more are taken. Zero if all are back now.
    pub reset: Duration,
}

impl Quota {
    /// Returns a quota of `quota` cells per `window`, with `remaining` cells left and `reset` to
    /// go.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        quota: u64,
        window: Duration,
        remaining: u64,
        reset: Duration,
    ) -> Self {
        Self { name: name.into(), quota, window, remaining, reset }
    }
}
