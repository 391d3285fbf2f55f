mod attempt;
mod criticality;
mod deadline;
mod scope;
mod shared_count;
mod signals;

pub use self::attempt::Attempt;
pub use self::criticality::Criticality;
pub use self::deadline::Deadline;
pub use self::scope::Scope;
pub use self::shared_count::{InnerReport, SharedCount};
pub use self::signals::Signals;

/// On what terms somebody waits: until when, and how much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ambient {
    /// Until when the whole call is waited for. `None` is later than any deadline.
    pub deadline: Option<Deadline>,
    /// How much it matters.
    pub criticality: Criticality,
}

impl Ambient {
    /// Returns these ambient values. No deadline is later than any deadline.
    #[inline]
    pub const fn new(deadline: Option<Deadline>, criticality: Criticality) -> Self {
        Self { deadline, criticality }
    }

    /// What is ambient now.
    #[inline]
    pub fn current() -> Self {
        Self { deadline: Deadline::whole(), criticality: Criticality::current() }
    }

    /// Runs `f` with these terms as the ambient ones. The poller's own deadline until the head is not
    /// that of the work.
    #[inline]
    pub fn with<R>(self, f: impl FnOnce() -> R) -> R {
        Deadline::with_head(None, || Deadline::with(self.deadline, || self.criticality.with(f)))
    }
}
