use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Criticality, Guard, Quota, Upload, Verdict};

use crate::fleet::FleetSnapshot;

mod counters;
mod options;
mod per_key;
mod queue_options;
mod refusal;
mod rejection_counts;
mod settings;

pub(crate) use self::{
    counters::CountsByCriticality,
    per_key::KeyWriter,
    queue_options::QueueOrder,
    refusal::{Refusal, RefusalReason},
    rejection_counts::RejectionCounts,
    settings::{QuotaHeaders, Settings},
};

pub use self::{
    options::{ConcurrencyBased, RateBased, Seeded},
    per_key::{LimitPerKey, LocalLimit},
    queue_options::{Queue, Queued},
};

/// A limit: [`ConcurrencyLimit`](crate::ConcurrencyLimit), [`RateLimit`](crate::RateLimit),
/// [`AcceptRatioLimit`](crate::AcceptRatioLimit), or [`Keyed`](crate::Keyed) of these.
///
/// A clone shares the state. This trait is sealed. Use it as a bound.
#[diagnostic::on_unimplemented(
    message = "this limit cannot be put to requests of type `{Req}`",
    note = "the closure given to `.keyed(..)` or `.cost(..)` takes another type of request"
)]
pub trait Limit<Req>: Clone + LimitTemplate {
    /// The value that a running call holds.
    #[doc(hidden)]
    type Permit: LimitPermit;
    /// A place in the queue.
    #[doc(hidden)]
    type Wait: Wait<Self::Permit>;

    /// The value that a running call holds of the limit of its key.
    #[doc(hidden)]
    type KeyPermit: LimitPermit;
    /// A place in the queue of a key.
    #[doc(hidden)]
    type KeyWait: Wait<Self::KeyPermit>;

    /// Admits `request`, enqueues it, or refuses it.
    #[doc(hidden)]
    fn admit(&self, request: &Req, call: &CallInfo<'_>) -> Admission<Self::Permit, Self::Wait>;

    /// Does the same as [`admit`](Self::admit), for the limit of the request's key. The call may
    /// keep the reference.
    #[doc(hidden)]
    fn admit_key(
        limit: Arc<KeyLimit<Self>>,
        request: &Req,
        call: &CallInfo<'_>,
    ) -> Admission<Self::KeyPermit, Self::KeyWait>;
}

/// The limit of a key, as a value of the table.
pub struct KeyLimit<L>(pub(crate) L);

impl<L> fmt::Debug for KeyLimit<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLimit").finish_non_exhaustive()
    }
}

/// A limit that can be created anew and inspected: every [`Limit`].
///
/// This trait is sealed. Use it as a bound.
pub trait LimitTemplate: sealed::Sealed {
    /// The limit without user closures, so that a handle has a type that can be written out.
    #[doc(hidden)]
    type View: Clone;

    /// The same state, for a handle.
    #[doc(hidden)]
    fn view(&self) -> Self::View;

    /// A limit with the same options in its first state.
    #[doc(hidden)]
    fn fresh(&self) -> Self;

    /// Whether the limit of a key must know its key.
    #[doc(hidden)]
    const NEEDS_KEY: bool = false;

    /// Whether the limit knows its key.
    #[doc(hidden)]
    fn is_bound(&self) -> bool {
        true
    }

    /// Tells the limit the bytes of its key, unless it knows them. `None`: it is the limit of all keys
    /// without room.
    #[doc(hidden)]
    fn bind(&self, key: Option<&[u8]>) {
        let _ = key;
    }

    /// Whether no call uses the limit, and its state equals that of a fresh limit.
    #[doc(hidden)]
    fn is_idle(&self) -> bool;

    /// The number of admitted calls, by criticality.
    #[doc(hidden)]
    fn admitted(&self) -> [u64; 4];

    /// The number of waiting calls.
    #[doc(hidden)]
    fn queued(&self) -> usize {
        0
    }

    /// The number of permits in use. `None` if the limit has no permits.
    #[doc(hidden)]
    fn in_flight(&self) -> Option<u32> {
        None
    }

    /// The number of permits there may be. `None` if the limit has no permits, or some for each
    /// key.
    #[doc(hidden)]
    fn limit(&self) -> Option<u32> {
        None
    }

    /// The numbers of a rate that a fleet keeps together.
    #[doc(hidden)]
    fn fleet(&self) -> Option<FleetSnapshot> {
        None
    }

    /// The number of keys in use. `None` if there is one limit for all calls.
    #[doc(hidden)]
    fn keys(&self) -> Option<usize> {
        None
    }
}

/// The facts about a call, besides its request, that a limit uses.
#[derive(Debug)]
pub struct CallInfo<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) criticality: Criticality,
}

/// The decision of a limit.
#[derive(Debug)]
pub enum Admission<P, W> {
    /// The call runs.
    Admitted(P),
    /// The call runs and is not counted.
    Unlimited,
    /// The call waits in the queue.
    Waiting(W),
    /// The call does not run.
    Refused(Refusal),
}

/// The value that a running call holds until it is dropped.
pub trait LimitPermit: Guard {
    /// Whether the permit still limits other calls after the outcome is known.
    const OUTLIVES_HEAD: bool;

    /// Called before the inner call. Asks for the request's upload if the time of the call matters.
    #[inline]
    fn watch(&mut self, upload: impl FnOnce() -> Option<Upload>) {
        let _ = upload;
    }

    /// Ends the call with an outcome that says nothing about the service.
    #[inline]
    fn forget(&mut self) {}

    /// Ends the call with this verdict.
    fn settle(&mut self, verdict: Verdict) {
        let _ = verdict;
    }

    /// The quotas to advertise on the response.
    fn quotas(&self) -> &[Quota] {
        &[]
    }
}

/// A place in a queue. Dropping it leaves the queue.
pub trait Wait<P>: Unpin {
    /// Ready with a permit, or with the refusal that ends the wait.
    fn poll_admit(&mut self, cx: &mut Context<'_>, settings: &Settings)
    -> Poll<Result<P, Refusal>>;
}

/// The private supertrait that seals the traits of limits.
pub(crate) mod sealed {
    pub trait Sealed {}
}
