mod attempt;
mod count_state;
mod criticality;
mod deadline;
mod scope;
mod shared_count;
mod signals;
mod spent;
mod wall_clock;

pub use self::attempt::Attempt;
pub use self::criticality::Criticality;
pub use self::deadline::Deadline;
pub use self::scope::Scope;
pub use self::shared_count::{InnerReport, SharedCount};
pub use self::signals::Signals;
pub use self::spent::Spent;
pub use self::wall_clock::{SimulatedWallClock, WallClock};

/// The ambient values of a call: its deadline and its criticality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ambient {
    /// The deadline of the whole call. `None` is later than any deadline.
    pub deadline: Option<Deadline>,
    /// The criticality of the call.
    pub criticality: Criticality,
}

impl Ambient {
    /// Creates a value of its parts. A deadline of `None` is later than any deadline.
    #[inline]
    pub const fn new(deadline: Option<Deadline>, criticality: Criticality) -> Self {
        Self { deadline, criticality }
    }

    /// Returns the values that are ambient now.
    #[inline]
    pub fn current() -> Self {
        Self { deadline: Deadline::whole(), criticality: Criticality::current() }
    }

    /// Runs `f` with these values as the ambient ones, and restores the former values, also if `f`
    /// panics.
    ///
    /// A deadline [until the head](Deadline::until_head) of the polling call is not ambient for
    /// `f`, because the work belongs to several calls.
    #[inline]
    pub fn with<R>(self, f: impl FnOnce() -> R) -> R {
        // The head deadline is that of one caller, and the work may belong to several.
        Deadline::with_head(None, || Deadline::with(self.deadline, || self.criticality.with(f)))
    }
}
