use std::time::Duration;

use crate::{Deadline, Plain, Reason, Rejection};

/// What an outcome means. Every layer reads the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The call did what it should.
    Success,
    /// The service failed, and another attempt may succeed.
    Transient,
    /// The service gave no answer within an attempt's time. Another attempt may succeed, but the
    /// service may have acted on this one.
    TimedOut,
    /// The service asks for less load, and may say how long.
    Throttled(Option<Hint>),
    /// The call failed, and would fail again.
    Permanent,
    /// The service itself ran out of the time it was given: too much load, perhaps, but another attempt
    /// would have no more of it.
    Expired,
    /// The service provably never began to work on the call, so that it may be sent again whatever
    /// it asks for.
    NeverProcessed,
    /// A layer below rejected the call. The service is not to blame.
    Rejected {
        /// The layer's pattern.
        by: &'static str,
        /// Why.
        reason: Reason,
        /// How long to wait before a call may be admitted, if that is known.
        retry_after: Option<Duration>,
    },
}

impl Verdict {
    /// What a rejection found in an outcome means to the layer that reads it now.
    ///
    /// A deadline that passed below while the reader's own ambient deadline has time left is an
    /// attempt's timeout, a failure of the service: [`TimedOut`](Self::TimedOut). Any other is a
    /// verdict of the layer that made it.
    pub fn of(rejection: &Rejection) -> Self {
        if rejection.reason() == Reason::DeadlineExceeded && has_time_left(rejection.deadline()) {
            return Self::TimedOut;
        }
        Self::Rejected {
            by: rejection.origin().layer(),
            reason: rejection.reason(),
            retry_after: rejection.retry_after(),
        }
    }
}

/// What a server says about the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Not before this time has passed, and better not all at once then: HTTP's `Retry-After`, which
    /// tells many clients the same second.
    After(Duration),
    /// When exactly this time has passed: gRPC's pushback. A backoff starts anew after it.
    Exactly(Duration),
    /// Not at all.
    Never,
}

/// Turns an outcome into a [`Verdict`].
///
/// Closures `Fn(Result<&Res, &E>) -> Verdict` implement it, so that `.classify(..)` takes them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot tell what an outcome of this service means",
    label = "no verdict on `Result<{Res}, {E}>` for requests of type `{Req}`",
    note = "for `http::Request` and `reqwest::Request`, add `.http()` to the layer",
    note = "otherwise give the layer `.classify(|outcome: Result<&Response, &Error>| ..)`"
)]
pub trait Classify<Req, Res, E>: Clone {
    /// What must be remembered of a request to judge its outcome.
    type Seed;

    /// Remembers what is needed of `request`.
    fn seed(&self, request: &Req) -> Self::Seed;

    /// What `outcome` means. The ambient deadline is the reader's.
    fn classify(&self, seed: &Self::Seed, outcome: Result<&Res, &E>) -> Verdict;
}

#[diagnostic::do_not_recommend]
impl<Req, Res, E: 'static> Classify<Req, Res, E> for Plain {
    type Seed = ();

    #[inline]
    fn seed(&self, _: &Req) {}

    /// `Ok` is a success. `Err` is a rejection if [`Rejection::find`] sees one, and transient
    /// otherwise.
    #[inline]
    fn classify(&self, (): &(), outcome: Result<&Res, &E>) -> Verdict {
        match outcome {
            Ok(_) => Verdict::Success,
            Err(error) => Rejection::find(error).map_or(Verdict::Transient, Verdict::of),
        }
    }
}

#[diagnostic::do_not_recommend]
impl<F, Req, Res, E> Classify<Req, Res, E> for F
where
    F: Fn(Result<&Res, &E>) -> Verdict + Clone,
{
    type Seed = ();

    #[inline]
    fn seed(&self, _: &Req) {}

    #[inline]
    fn classify(&self, (): &(), outcome: Result<&Res, &E>) -> Verdict {
        self(outcome)
    }
}

/// Who gives the verdict in a layer of mode `M`: the mode itself ([`ByMode`]), or what the user gave
/// ([`By`]).
#[diagnostic::on_unimplemented(
    message = "this layer cannot tell what an outcome of this service means",
    label = "no verdict on `Result<{Res}, {E}>` for requests of type `{Req}`",
    note = "for `http::Request` and `reqwest::Request`, add `.http()` to the layer",
    note = "otherwise give the layer `.classify(|outcome: Result<&Response, &Error>| ..)`"
)]
pub trait Judge<M, Req, Res, E>: Clone {
    /// What must be remembered of a request to judge its outcome.
    type Seed;

    /// Remembers what is needed of `request`.
    fn seed(&self, mode: &M, request: &Req) -> Self::Seed;

    /// What `outcome` means.
    fn judge(&self, mode: &M, seed: &Self::Seed, outcome: Result<&Res, &E>) -> Verdict;
}

/// The verdict is the mode's.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByMode;

#[diagnostic::do_not_recommend]
impl<M: Classify<Req, Res, E>, Req, Res, E> Judge<M, Req, Res, E> for ByMode {
    type Seed = M::Seed;

    #[inline]
    fn seed(&self, mode: &M, request: &Req) -> M::Seed {
        mode.seed(request)
    }

    #[inline]
    fn judge(&self, mode: &M, seed: &M::Seed, outcome: Result<&Res, &E>) -> Verdict {
        mode.classify(seed, outcome)
    }
}

/// The verdict is that of a [`Classify`] the user gave.
#[derive(Clone, Copy, Debug)]
pub struct By<C>(pub C);

#[diagnostic::do_not_recommend]
impl<M, C: Classify<Req, Res, E>, Req, Res, E> Judge<M, Req, Res, E> for By<C> {
    type Seed = C::Seed;

    #[inline]
    fn seed(&self, _: &M, request: &Req) -> C::Seed {
        self.0.seed(request)
    }

    #[inline]
    fn judge(&self, _: &M, seed: &C::Seed, outcome: Result<&Res, &E>) -> Verdict {
        self.0.classify(seed, outcome)
    }
}

/// Whether the reader's ambient deadline outlives the one that was enforced below it.
fn has_time_left(enforced: Option<Deadline>) -> bool {
    match (Deadline::current(), enforced) {
        (None, _) => true,
        (Some(own), Some(enforced)) if enforced >= own => false,
        (Some(own), _) => !own.has_passed(),
    }
}
