use std::fmt;

use buttress_core::{Attempt, Deadline, Judge, Propagate, Replay, Source};
use tower_service::Service;

use super::{Alternative, Begun, FailedCall, call::AlternativeCall, sealed::Sealed};
use crate::settings::{Failure, Settings};

/// Answers with the response of another service, as
/// [`FallbackLayer::service`](crate::FallbackLayer::service) sets.
#[derive(Clone)]
pub struct AlternativeService<T> {
    // Not shared: a service need not be `Sync`, and each call polls the readiness of a clone of its
    // own.
    service: T,
}

impl<T> AlternativeService<T> {
    pub(crate) const fn new(service: T) -> Self {
        Self { service }
    }
}

impl<T, M, J, Req, Res, E> Alternative<M, J, Req, Res, E> for AlternativeService<T>
where
    T: Service<Req, Error = E> + Clone,
    M: Replay<Req> + Propagate<Req>,
    J: Judge<M, Req, T::Response, E>,
{
    type Response = T::Response;
    type Prepared = Option<(T, M::Saved)>;
    type Work = AlternativeCall<T, Req, M, J>;

    const SOURCE: Source = Source::Service;

    #[inline]
    fn prepare(&self, settings: &Settings, mode: &M, mut request: Req) -> (Req, Self::Prepared) {
        if !settings.keeps_requests() {
            return (request, None);
        }
        let saved = mode.save(&mut request);
        (request, saved.map(|saved| (self.service.clone(), saved)))
    }

    fn begin(
        prepared: &mut Self::Prepared,
        call: FailedCall<'_, M, J>,
        _: Result<&Res, &E>,
    ) -> Begun<T::Response, Self::Work> {
        let Some(permit) = call.settings.try_begin() else { return Begun::Failed(Failure::Full) };
        let Some((service, saved)) = prepared.take() else {
            return Begun::Failed(Failure::NotReplayable);
        };
        // The ambient attempt, because the attempts below this layer never reached the alternative.
        let Some(request) = call.mode.again(&saved, Attempt::current()) else {
            return Begun::Failed(Failure::NotReplayable);
        };
        let deadline = Deadline::earliest(Deadline::whole(), call.mode.saved_deadline(&saved));
        let until = Deadline::earliest(deadline, Deadline::head());
        if until.is_some_and(Deadline::has_passed)
            || deadline.is_some_and(|it| call.mode.can_set_deadline(&request, it).is_err())
        {
            return Begun::Failed(Failure::NoTimeLeft);
        }
        let by = (call.mode, call.judge);
        Begun::Running(AlternativeCall::new(service, request, deadline, by, permit))
    }
}

impl<T> Sealed for AlternativeService<T> {}

impl<T> fmt::Debug for AlternativeService<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlternativeService").finish_non_exhaustive()
    }
}
