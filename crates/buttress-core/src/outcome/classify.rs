use crate::{Plain, Rejection, Verdict};

/// Turns an outcome into a [`Verdict`].
///
/// Closures `Fn(Result<&Res, &E>) -> Verdict` implement it, so that `.classify(..)` takes them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot tell what an outcome of this service means",
    label = "no verdict on `Result<{Res}, {E}>` for requests of type `{Req}`",
    note = "for `http::Request` and `reqwest::Request`, add `.http()` to the layer",
    note = "otherwise give the layer `.classify(|outcome: Result<&Response, &Error>| ..)`"
)]
#[doc(alias("is_retryable", "retry predicate"))]
pub trait Classify<Req, Res, E>: Clone {
    /// What must be remembered of a request to judge its outcome.
    type Seed;

    /// Remembers what is needed of `request`.
    fn seed(&self, request: &Req) -> Self::Seed;

    /// What `outcome` means. The ambient deadline is the reader's.
    fn classify(&self, seed: &Self::Seed, outcome: Result<&Res, &E>) -> Verdict;

    /// Returns whether `outcome` is the service's own answer to the call.
    ///
    /// `false` means that the outcome leaves open what the service did: an error, the rejection of a
    /// layer below, or the response of an intermediary in the service's place. Such an outcome can still
    /// be a failure of the service; that is for [`classify`](Self::classify) to say. A retry asks before
    /// it repeats a call that is not known to be idempotent.
    ///
    /// Default: `Ok` is an answer, `Err` is none.
    fn is_answer(&self, seed: &Self::Seed, outcome: Result<&Res, &E>) -> bool {
        let _ = seed;
        outcome.is_ok()
    }

    /// Returns whether a [`Permanent`](Verdict::Permanent) `outcome` was made on this side, so that it says
    /// nothing of the service: no server sent it.
    ///
    /// A request that could not be built or whose own body broke off is such an outcome, and so is a certificate
    /// that is not trusted. A limit that learns from outcomes counts it for nothing.
    ///
    /// Default: `false`, the service said so.
    fn is_callers_own(&self, seed: &Self::Seed, outcome: Result<&Res, &E>) -> bool {
        let _ = (seed, outcome);
        false
    }
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
            Err(error) => {
                Rejection::find(error).map_or(Verdict::Transient, Verdict::from_rejection)
            }
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

    /// Returns whether `outcome` is the service's own answer, as [`Classify::is_answer`] has it.
    ///
    /// Default: `Ok` is an answer, `Err` is none.
    fn is_answer(&self, mode: &M, seed: &Self::Seed, outcome: Result<&Res, &E>) -> bool {
        let _ = (mode, seed);
        outcome.is_ok()
    }

    /// Returns whether `outcome` was made on this side, as [`Classify::is_callers_own`] has it.
    ///
    /// Default: `false`, the service said so.
    fn is_callers_own(&self, mode: &M, seed: &Self::Seed, outcome: Result<&Res, &E>) -> bool {
        let _ = (mode, seed, outcome);
        false
    }
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

    #[inline]
    fn is_answer(&self, mode: &M, seed: &M::Seed, outcome: Result<&Res, &E>) -> bool {
        mode.is_answer(seed, outcome)
    }

    #[inline]
    fn is_callers_own(&self, mode: &M, seed: &M::Seed, outcome: Result<&Res, &E>) -> bool {
        mode.is_callers_own(seed, outcome)
    }
}

/// The verdict is that of a [`Classify`] the user gave.
///
/// Whether an outcome is an [answer](Classify::is_answer) of the service is a question of the protocol:
/// the mode and the user's `Classify` must both say so. That it was made on this side is for either to say.
#[derive(Clone, Copy, Debug)]
pub struct By<C>(pub C);

#[diagnostic::do_not_recommend]
impl<M, C, Req, Res, E> Judge<M, Req, Res, E> for By<C>
where
    M: Classify<Req, Res, E>,
    C: Classify<Req, Res, E>,
{
    type Seed = (C::Seed, M::Seed);

    #[inline]
    fn seed(&self, mode: &M, request: &Req) -> Self::Seed {
        (self.0.seed(request), mode.seed(request))
    }

    #[inline]
    fn judge(&self, _: &M, (seed, _): &Self::Seed, outcome: Result<&Res, &E>) -> Verdict {
        self.0.classify(seed, outcome)
    }

    #[inline]
    fn is_answer(&self, mode: &M, (own, seed): &Self::Seed, outcome: Result<&Res, &E>) -> bool {
        mode.is_answer(seed, outcome) && self.0.is_answer(own, outcome)
    }

    #[inline]
    fn is_callers_own(
        &self,
        mode: &M,
        (own, seed): &Self::Seed,
        outcome: Result<&Res, &E>,
    ) -> bool {
        mode.is_callers_own(seed, outcome) || self.0.is_callers_own(own, outcome)
    }
}
