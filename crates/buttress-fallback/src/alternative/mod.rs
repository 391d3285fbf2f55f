mod call;
mod computed;
mod fixed;
mod service;

use std::future::Future;

use buttress_core::{Source, Verdict};

pub use self::{computed::ComputedAnswer, fixed::FixedAnswer, service::AlternativeService};
use crate::settings::{Failure, Settings};

/// The part of a [`FallbackLayer`](crate::FallbackLayer) that answers: a value, a closure or a
/// service. Sealed.
///
/// `Req`, `Res` and `E` are the request, response and error of the inner service.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer for this service",
    label = "no fallback for `Result<{Res}, {E}>` of requests of type `{Req}`",
    note = "the closure of `FallbackLayer::answer` is `|verdict: Verdict, outcome: Result<&Response, &Error>| ..`, with the types of the inner service",
    note = "the service of `FallbackLayer::service` is `Clone`, takes the same requests, and has the error type of the inner service"
)]
pub trait Alternative<M, J, Req, Res, E>: Clone + sealed::Sealed {
    /// The response that the fallback makes.
    type Response;

    /// What a call keeps for the fallback.
    #[doc(hidden)]
    type Prepared;

    /// The running call of an alternative service.
    #[doc(hidden)]
    type Work: Future<Output = Result<(Self::Response, Verdict), Failure>>;

    #[doc(hidden)]
    const SOURCE: Source;

    /// Prepares a call: returns the request for the inner service, and what is kept.
    #[doc(hidden)]
    fn prepare(&self, settings: &Settings, mode: &M, request: Req) -> (Req, Self::Prepared);

    /// Begins the fallback of a call with this `outcome`. Called once per call.
    #[doc(hidden)]
    fn begin(
        prepared: &mut Self::Prepared,
        call: FailedCall<'_, M, J>,
        outcome: Result<&Res, &E>,
    ) -> Begun<Self::Response, Self::Work>;
}

/// A call whose outcome is to be replaced.
#[derive(Debug)]
pub struct FailedCall<'a, M, J> {
    pub(crate) settings: &'a Settings,
    pub(crate) mode: &'a M,
    pub(crate) judge: &'a J,
    pub(crate) verdict: Verdict,
}

/// A fallback that has begun.
#[derive(Debug)]
pub enum Begun<Res, Work> {
    /// The answer is here.
    Answered(Res),
    /// The alternative service has been given the request.
    Running(Work),
    /// There is no answer.
    Failed(Failure),
}

pub(crate) mod sealed {
    pub trait Sealed {}
}
