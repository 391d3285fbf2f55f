use std::task::{Context, Poll};

use buttress_core::{Criticality, Guard, Quota, Upload, Verdict};

mod clock;
mod counters;
mod options;
mod queue_options;
mod refusal;
mod settings;

pub(crate) use self::{
    clock::LimitClock,
    counters::CountsByCriticality,
    queue_options::QueueOrder,
    refusal::{Refusal, RefusalReason},
    settings::{QuotaHeaders, Settings},
};

pub use self::{
    options::{ConcurrencyBased, RateBased, Seeded},
    queue_options::{Queue, Queued},
};

/// What decides whether a call may go through: [`ConcurrencyLimit`](crate::ConcurrencyLimit),
/// [`RateLimit`](crate::RateLimit), [`AcceptRatioLimit`](crate::AcceptRatioLimit), or one of them
/// for each key, [`Keyed`](crate::Keyed).
///
/// A clone shares the state. This trait is sealed. Use it as a bound.
#[diagnostic::on_unimplemented(
    message = "this limit cannot be put to requests of type `{Req}`",
    note = "the closure given to `.keyed(..)` or `.cost(..)` takes another type of request"
)]
pub trait Limit<Req>: Clone + LimitTemplate {
    /// What a call holds while it runs.
    #[doc(hidden)]
    type Permit: LimitPermit;
    /// A place in a queue.
    #[doc(hidden)]
    type Wait: Wait<Self::Permit>;

    /// Asks for `request` to be let through.
    #[doc(hidden)]
    fn admit(&self, request: &Req, call: &CallInfo<'_>) -> Admission<Self::Permit, Self::Wait>;
}

/// A limit that can be made anew, and looked at: every [`Limit`].
///
/// This trait is sealed. Use it as a bound.
pub trait LimitTemplate: sealed::Sealed {
    /// The limit without the user's closures, so that its type can be written out.
    #[doc(hidden)]
    type View: Clone;

    /// The same limit, for a handle.
    #[doc(hidden)]
    fn view(&self) -> Self::View;

    /// The same limit in its first state.
    #[doc(hidden)]
    fn fresh(&self) -> Self;

    /// Whether it is in use by nobody, and no different from a fresh one.
    #[doc(hidden)]
    fn is_idle(&self) -> bool;

    /// How many calls were let through, by criticality.
    #[doc(hidden)]
    fn admitted(&self) -> [u64; 4];

    /// How many calls wait.
    #[doc(hidden)]
    fn queued(&self) -> usize {
        0
    }

    /// How many permits are in use. `None` if the limit has none.
    #[doc(hidden)]
    fn in_flight(&self) -> Option<u32> {
        None
    }

    /// How many permits there may be. `None` if the limit has none, or one for each key.
    #[doc(hidden)]
    fn limit(&self) -> Option<u32> {
        None
    }
}

/// What else a limit may want to know of a call.
#[derive(Debug)]
pub struct CallInfo<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) criticality: Criticality,
}

/// The answer of a limit.
#[derive(Debug)]
pub enum Admission<P, W> {
    /// Go.
    Admitted(P),
    /// Go, this one does not count.
    Unlimited,
    /// Wait.
    Waiting(W),
    /// No.
    Refused(Refusal),
}

/// What a call holds while it runs, until it is dropped.
pub trait LimitPermit: Guard {
    /// Whether it stands for anything once the outcome is known.
    const OUTLIVES_HEAD: bool;

    /// The call is about to be made. Asks for its upload, if the time of the call matters.
    #[inline]
    fn watch(&mut self, upload: impl FnOnce() -> Option<Upload>) {
        let _ = upload;
    }

    /// The call has ended, and its outcome says nothing of the service.
    #[inline]
    fn forget(&mut self) {}

    /// The call has ended.
    fn settle(&mut self, verdict: Verdict) {
        let _ = verdict;
    }

    /// What the caller may be told.
    fn quotas(&self) -> &[Quota] {
        &[]
    }
}

/// A place in a queue, given up when dropped.
pub trait Wait<P>: Unpin {
    /// Ready when the wait is over, one way or the other.
    fn poll_admit(&mut self, cx: &mut Context<'_>, settings: &Settings)
    -> Poll<Result<P, Refusal>>;
}

/// Keeps the traits of limits from being implemented elsewhere.
pub(crate) mod sealed {
    pub trait Sealed {}
}
