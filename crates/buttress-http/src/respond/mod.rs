mod blend;
mod control_body;
mod rate_limit_headers;
mod rejection_response;

use std::time::Duration;

use buttress_core::{Criticality, Guard, Quota, Rejection, Respond, SeedAndDeadline, SeedHint};
use http_body::Body;

use self::rejection_response::rejection_response;
use crate::{Http, Protocol};

pub use self::control_body::ControlBody;

impl<B, ResB, E> Respond<http::Request<B>, http::Response<ResB>, E> for Http
where
    ResB: Body,
    E: 'static,
{
    type Seed = Protocol;
    type Response<G: Guard> = http::Response<ControlBody<ResB, G>>;

    #[inline]
    fn seed(&self, request: &http::Request<B>) -> Protocol {
        Protocol::of(request.headers())
    }

    #[inline]
    fn seed_and_deadline(&self, request: &http::Request<B>) -> SeedAndDeadline<Protocol> {
        self.protocol_and_deadline(request.headers(), request.extensions())
    }

    #[inline]
    fn seed_and_criticality(
        &self,
        request: &mut http::Request<B>,
    ) -> (Protocol, Option<Criticality>) {
        let in_extensions = request.extensions().get().copied();
        self.protocol_and_criticality(request.headers_mut(), in_extensions)
    }

    #[inline]
    fn hint(&self, protocol: &Protocol) -> SeedHint {
        protocol.hint()
    }

    #[inline]
    fn admit<G: Guard>(
        &self,
        protocol: Protocol,
        response: http::Response<ResB>,
        guard: Option<G>,
    ) -> Self::Response<G> {
        response.map(|body| ControlBody::new(protocol, body, guard))
    }

    fn reject<G: Guard>(&self, protocol: Protocol, why: Rejection) -> Result<Self::Response<G>, E> {
        Ok(rejection_response(protocol, why).map(|()| ControlBody::empty()))
    }

    fn advertise<G: Guard>(&self, response: &mut Self::Response<G>, quotas: &[Quota]) {
        rate_limit_headers::announce(response.headers_mut(), quotas);
    }

    fn is_rejection(&self, response: &http::Response<ResB>) -> bool {
        response.extensions().get::<Rejection>().is_some()
    }

    /// Whether tonic's own timer fired, which enforces a `grpc-timeout`.
    fn timed_out(&self, error: &E, remaining: Duration) -> bool {
        self.is_at_end(remaining) && timer_fired(error)
    }
}

#[cfg(feature = "reqwest")]
impl<E> Respond<reqwest::Request, reqwest::Response, E> for Http
where
    E: 'static,
{
    /// A response of reqwest has the URL of its request, which is gone by then. The copy costs an
    /// allocation.
    type Seed = (Protocol, reqwest::Url);
    type Response<G: Guard> = reqwest::Response;

    fn seed(&self, request: &reqwest::Request) -> Self::Seed {
        (Protocol::of(request.headers()), request.url().clone())
    }

    fn hint(&self, (protocol, _): &Self::Seed) -> SeedHint {
        protocol.hint()
    }

    fn admit<G: Guard>(
        &self,
        (protocol, _): Self::Seed,
        response: reqwest::Response,
        guard: Option<G>,
    ) -> reqwest::Response {
        match guard {
            Some(_) => {
                let url = response.url().clone();
                let response = http::Response::<reqwest::Body>::from(response)
                    .map(|body| reqwest::Body::wrap(ControlBody::new(protocol, body, guard)));
                at(url, response)
            }
            None => response,
        }
    }

    fn reject<G: Guard>(
        &self,
        (protocol, url): Self::Seed,
        why: Rejection,
    ) -> Result<reqwest::Response, E> {
        Ok(at(url, rejection_response(protocol, why).map(|()| reqwest::Body::default())))
    }

    fn advertise<G: Guard>(&self, response: &mut reqwest::Response, quotas: &[Quota]) {
        rate_limit_headers::announce(response.headers_mut(), quotas);
    }

    fn is_rejection(&self, response: &reqwest::Response) -> bool {
        response.extensions().get::<Rejection>().is_some()
    }

    /// Whether a timer fired that knew the deadline. reqwest never knows a deadline, so its own
    /// timeouts are failures of the service.
    fn timed_out(&self, error: &E, remaining: Duration) -> bool {
        self.is_at_end(remaining) && timer_fired(error)
    }
}

impl Http {
    /// Whether a deadline with `remaining` left has ended for the other side. That side was told
    /// the margin less, with the precision of a header and of a timer.
    fn is_at_end(&self, remaining: Duration) -> bool {
        remaining <= self.options().margin.saturating_add(ROUNDING)
    }
}

/// Turns `response` into a response of reqwest, which takes its URL from an extension that only the
/// builder can set.
#[cfg(feature = "reqwest")]
pub(crate) fn at(url: reqwest::Url, response: http::Response<reqwest::Body>) -> reqwest::Response {
    use reqwest::ResponseBuilderExt;

    let (mut parts, body) = response.into_parts();
    if let Ok(carrier) = http::Response::builder().url(url).body(()) {
        parts.extensions.extend(carrier.into_parts().0.extensions);
    }
    http::Response::from_parts(parts, body).into()
}

#[cfg(feature = "tonic")]
fn timer_fired<E: 'static>(error: &E) -> bool {
    let chain =
        std::iter::successors(crate::classify::error_chain::view(error), |error| error.source());
    // The bound stops at a `source()` that returns itself. Real chains have a handful of errors.
    chain.take(LONGEST_CHAIN).any(<dyn std::error::Error>::is::<tonic::TimeoutExpired>)
}

#[cfg(not(feature = "tonic"))]
fn timer_fired<E: 'static>(_: &E) -> bool {
    false
}

#[cfg(feature = "tonic")]
const LONGEST_CHAIN: usize = 64;

/// A deadline under a day loses less than 1 ms in a header, and as much in a timer.
const ROUNDING: Duration = Duration::from_millis(2);
