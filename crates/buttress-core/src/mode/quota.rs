use std::{borrow::Cow, time::Duration};

/// What a caller may know of a rate that its call counted against.
///
/// A layer hands it to [`Respond::advertise`](crate::Respond::advertise); `Http` makes headers of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// The rate's name.
    pub name: Cow<'static, str>,
    /// How many cells there are per `window`.
    pub quota: u64,
    /// How long the `quota` is for.
    pub window: Duration,
    /// How many cells are left now. With a burst it may be more than the quota, or less.
    pub remaining: u64,
    /// How long until all cells are there again, if none is taken meanwhile. Zero when they are.
    pub reset: Duration,
}

impl Quota {
    /// Returns a quota of `quota` cells per `window`, with `remaining` cells left and `reset` to go.
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
