use crate::{Plain, Rejection, SeedHint, Verdict};

/// Turns an outcome into a [`Verdict`].
///
/// Closures `Fn(Result<&Res, &E>) -> Verdict` implement this trait for `.classify(..)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot tell what an outcome of this service means",
    label = "no verdict on `Result<{Res}, {E}>` for requests of type `{Req}`",
    note = "for `http::Request` and `reqwest::Request`, add `.http()` to the layer",
    note = "otherwise give the layer `.classify(|outcome: Result<&Response, &Error>| ..)`"
)]
#[doc(alias("is_retryable", "retry predicate"))]
pub trait Classify<Req, Res, E>: Clone {
    /// State captured from the request, because the request is gone when the outcome is known.
    type Seed;

    /// Captures the seed from `request`.
    fn seed(&self, request: &Req) -> Self::Seed;

    /// Captures the same seed as [`seed`](Self::seed), with the hint of another seed of this mode
    /// for the same request.
    ///
    /// Default: [`seed`](Self::seed). A mode that searches headers reads the hint instead.
    #[inline]
    fn seed_hinted(&self, request: &Req, hint: SeedHint) -> Self::Seed {
        let _ = hint;
        self.seed(request)
    }

    /// Returns the verdict on `outcome`. The ambient deadline is that of the layer that asks.
    fn classify(&self, seed: &Self::Seed, outcome: Result<&Res, &E>) -> Verdict;

    /// Returns whether `outcome` is the service's own answer to the call.
    ///
    /// `false` means that the outcome does not show what the service did. Examples are an error,
    /// the rejection of an inner layer, and the response of an intermediary. Such an outcome can
    /// still be a failure of the service, which [`classify`](Self::classify) decides. A retry asks
    /// before repeating a call that is not known to be idempotent.
    ///
    /// Default: `Ok` is an answer, `Err` is none.
    fn is_answer(&self, seed: &Self::Seed, outcome: Result<&Res, &E>) -> bool {
        let _ = seed;
        outcome.is_ok()
    }

    /// Returns whether a [`Permanent`](Verdict::Permanent) `outcome` was made on this side: no
    /// server sent the outcome, which says nothing about the service.
    ///
    /// Examples are a request that could not be built, a request body that failed, and a
    /// certificate that is not trusted. An adaptive limit ignores such an outcome.
    ///
    /// Default: `false`, the service sent the outcome.
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

    /// `Ok` is a success. `Err` is a rejection if [`Rejection::find`] finds one, and transient
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

/// Gives the verdict in a layer of mode `M`: by the mode itself ([`ByMode`]), or by the user's
/// classifier ([`By`]).
///
/// This trait exists beside [`Classify`] so that `.classify(f)` and `.http()` work in either order.
/// A classifier knows no mode. So the layer stores the classifier as a `Judge`, and the mode that
/// is bound later takes part in the verdict.
#[diagnostic::on_unimplemented(
    message = "this layer cannot tell what an outcome of this service means",
    label = "no verdict on `Result<{Res}, {E}>` for requests of type `{Req}`",
    note = "for `http::Request` and `reqwest::Request`, add `.http()` to the layer",
    note = "otherwise give the layer `.classify(|outcome: Result<&Response, &Error>| ..)`"
)]
pub trait Judge<M, Req, Res, E>: Clone {
    /// State captured from the request, because the request is gone when the outcome is known.
    type Seed;

    /// Captures the seed from `request`.
    fn seed(&self, mode: &M, request: &Req) -> Self::Seed;

    /// Captures the same seed as [`seed`](Self::seed), with the hint of another seed of `mode` for
    /// the same request.
    ///
    /// Default: [`seed`](Self::seed).
    #[inline]
    fn seed_hinted(&self, mode: &M, request: &Req, hint: SeedHint) -> Self::Seed {
        let _ = hint;
        self.seed(mode, request)
    }

    /// Returns the verdict on `outcome`.
    fn judge(&self, mode: &M, seed: &Self::Seed, outcome: Result<&Res, &E>) -> Verdict;

    /// Returns whether `outcome` is the service's own answer, as [`Classify::is_answer`] does.
    ///
    /// Default: `Ok` is an answer, `Err` is none.
    fn is_answer(&self, mode: &M, seed: &Self::Seed, outcome: Result<&Res, &E>) -> bool {
        let _ = (mode, seed);
        outcome.is_ok()
    }

    /// Returns whether `outcome` was made on this side, as [`Classify::is_callers_own`] does.
    ///
    /// Default: `false`, the service sent the outcome.
    fn is_callers_own(&self, mode: &M, seed: &Self::Seed, outcome: Result<&Res, &E>) -> bool {
        let _ = (mode, seed, outcome);
        false
    }
}

/// The verdict of the mode.
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
    fn seed_hinted(&self, mode: &M, request: &Req, hint: SeedHint) -> M::Seed {
        mode.seed_hinted(request, hint)
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

/// The verdict of a user's [`Classify`].
///
/// Whether an outcome is an [answer](Classify::is_answer) of the service depends on the protocol:
/// the mode and the user's classifier must both say so. Whether it [was made on this
/// side](Classify::is_callers_own) is for either to say.
#[derive(Clone, Copy, Debug)]
pub struct By<C>(pub C);

#[diagnostic::do_not_recommend]
impl<M, C, Req, Res, E> Judge<M, Req, Res, E> for By<C>
where
    M: Classify<Req, Res, E>,
    C: Classify<Req, Res, E>,
{
    // The mode's seed too: `is_answer` and `is_callers_own` ask the mode, although its verdict is
    // not used.
    type Seed = (C::Seed, M::Seed);

    #[inline]
    fn seed(&self, mode: &M, request: &Req) -> Self::Seed {
        (self.0.seed(request), mode.seed(request))
    }

    #[inline]
    fn seed_hinted(&self, mode: &M, request: &Req, hint: SeedHint) -> Self::Seed {
        (self.0.seed(request), mode.seed_hinted(request, hint))
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
