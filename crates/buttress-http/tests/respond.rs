//! Rejections as responses, and admitted responses.
#![expect(clippy::unwrap_used, reason = "the helpers of a test panic as the test would")]

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{BoxError, Guard, Origin, Reason, Rejection, Respond};
use buttress_http::{ControlBody, Http, Protocol};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use http_body_util::BodyExt;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_http_rejection_is_a_status() {
    for (reason, status) in [
        (Reason::DeadlineExceeded, 504),
        (Reason::Overloaded, 503),
        (Reason::CircuitOpen, 503),
        (Reason::RateLimited, 429),
        (Reason::NeverAdmissible, 413),
        (Reason::Superseded, 409),
        (Reason::Panicked, 500),
    ] {
        let response = reject(&Request::new(()), rejection(reason));
        assert_eq!(response.status(), status, "{reason}");
        assert!(response.headers().is_empty());
        assert_eq!(response.body().size_hint().exact(), Some(0));
        assert!(response.body().is_end_stream());
    }
}

#[test]
fn a_grpc_rejection_is_a_status_without_a_body() {
    for (reason, status) in [
        (Reason::DeadlineExceeded, "4"),
        (Reason::Overloaded, "14"),
        (Reason::CircuitOpen, "14"),
        (Reason::RateLimited, "8"),
        (Reason::NeverAdmissible, "8"),
        (Reason::Superseded, "14"),
        (Reason::Panicked, "13"),
    ] {
        let response = reject(&grpc(), rejection(reason));
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["grpc-status"], status, "{reason}");
        assert!(response.body().is_end_stream());
    }
}

#[test]
fn protocol_is_that_of_the_first_content_type_among_any_number_of_headers() {
    let grpc = HeaderValue::from_static("application/grpc+proto");
    let json = HeaderValue::from_static("application/json");
    for others in 0..40 {
        for place in 0..=others {
            let mut headers = HeaderMap::new();
            let other = |number| HeaderName::try_from(format!("x-{number}")).unwrap();
            for number in 0..others {
                if number == place {
                    headers.insert(CONTENT_TYPE, grpc.clone());
                }
                headers.append(other(number), HeaderValue::from(number));
                headers.append(other(number), HeaderValue::from(number));
            }
            let expected = if place < others { Protocol::Grpc } else { Protocol::Http };
            assert_eq!(Protocol::of(&headers), expected, "{place} of {others}");
            headers.append(CONTENT_TYPE, json.clone());
            assert_eq!(Protocol::of(&headers), expected, "{place} of {others}");
        }
    }
}

#[test]
fn retry_after_is_rounded_up_to_whole_seconds_and_is_at_least_one() {
    for (delay, seconds) in [
        (Duration::ZERO, "1"),
        (Duration::from_nanos(1), "1"),
        (SECOND, "1"),
        (Duration::from_millis(1001), "2"),
        (Duration::MAX, "18446744073709551615"),
    ] {
        let response = reject(&Request::new(()), rejection(Reason::RateLimited).after(delay));
        assert_eq!(response.headers()["retry-after"], seconds, "{delay:?}");
        assert!(!response.headers().contains_key("grpc-retry-pushback-ms"));
    }
}

#[test]
fn pushback_is_rounded_up_to_milliseconds_and_fits_an_i32() {
    for (delay, milliseconds) in [
        (Duration::ZERO, "0"),
        (Duration::from_micros(1), "1"),
        (SECOND, "1000"),
        (Duration::MAX, "2147483647"),
    ] {
        let response = reject(&grpc(), rejection(Reason::Overloaded).after(delay));
        assert_eq!(response.headers()["grpc-retry-pushback-ms"], milliseconds, "{delay:?}");
        assert!(!response.headers().contains_key("retry-after"));
    }
    let unknown = reject(&grpc(), rejection(Reason::Overloaded));
    assert!(!unknown.headers().contains_key("grpc-retry-pushback-ms"));
}

#[test]
fn superseded_and_never_admissible_calls_are_told_not_to_retry() {
    for reason in [Reason::Superseded, Reason::NeverAdmissible] {
        for why in [rejection(reason), rejection(reason).after(SECOND)] {
            let answer = reject(&grpc(), why.clone());
            assert_eq!(answer.headers()["grpc-retry-pushback-ms"], "-1", "{why}");
            assert!(!reject(&Request::new(()), why).headers().contains_key("retry-after"));
        }
    }
}

#[test]
fn the_grpc_message_names_the_layer_and_is_percent_encoded() {
    let origin = Origin::new("throttle").named("böse 100%\n");
    let response = reject(&grpc(), Rejection::new(Reason::Overloaded, origin));
    assert_eq!(response.headers()["grpc-message"], "throttle `b%C3%B6se 100%25%0A`: overloaded");
}

#[test]
fn the_rejection_stands_in_the_extensions() {
    for request in [Request::new(()), grpc()] {
        let why = rejection(Reason::CircuitOpen).after(SECOND);
        assert_eq!(reject(&request, why.clone()).extensions().get(), Some(&why));
    }
}

#[tokio::test]
async fn an_admitted_response_keeps_its_head_and_is_cut_in_its_request_s_protocol() {
    for (request, protocol) in [(Request::new(()), Protocol::Http), (grpc(), Protocol::Grpc)] {
        let mut inner = Response::new(Endless);
        inner.headers_mut().insert("etag", HeaderValue::from_static("x"));
        let guard = Some(AtOnce);
        let mut response = admit(&request, inner, guard);
        assert_eq!(response.headers()["etag"], "x");
        let cut = response.body_mut().frame().await.unwrap();
        match protocol {
            Protocol::Http => assert!(Rejection::find(&cut.unwrap_err()).is_some()),
            _ => assert_eq!(cut.unwrap().trailers_ref().unwrap()["grpc-status"], "4"),
        }
    }
}

#[cfg(feature = "tonic")]
#[test]
fn the_timer_of_a_tonic_channel_is_recognised_wherever_it_stands_in_the_chain() {
    let timed_out = |error: &BoxError| {
        <Http as Respond<Request<()>, Response<Endless>, BoxError>>::timed_out(
            &Http::new(),
            error,
            Duration::from_millis(1),
        )
    };
    let timer = || BoxError::from(tonic::TimeoutExpired(()));
    assert!(timed_out(&timer()));
    assert!(timed_out(&tonic::Status::from_error(timer()).into()));
    assert!(!timed_out(&tonic::Status::cancelled("Timeout expired").into()));
    assert!(!timed_out(&"Timeout expired".into()));

    let early = |http: Http| {
        let left = Duration::from_millis(50);
        <Http as Respond<Request<()>, Response<Endless>, BoxError>>::timed_out(
            &http,
            &timer(),
            left,
        )
    };
    assert!(!early(Http::new()), "a timer of its own, with time left here");
    assert!(
        early(Http::new().deadline_margin(Duration::from_millis(50))),
        "it was told of a margin less"
    );
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn reqwest_response_keeps_its_url() {
    let url = reqwest::Url::parse("http://example.com/a?b=c").unwrap();
    let request = reqwest::Request::new(http::Method::GET, url.clone());
    let http = Http::new();
    let seed = <Http as Respond<reqwest::Request, reqwest::Response, reqwest::Error>>::seed(
        &http, &request,
    );
    let rejected: Result<_, reqwest::Error> =
        <Http as Respond<reqwest::Request, reqwest::Response, reqwest::Error>>::reject::<AtOnce>(
            &http,
            seed.clone(),
            rejection(Reason::RateLimited).after(SECOND),
        );
    let rejected = rejected.unwrap();
    assert_eq!(rejected.status(), 429);
    assert_eq!(rejected.headers()["retry-after"], "1");
    assert_eq!(rejected.url(), &url);
    assert!(rejected.extensions().get::<Rejection>().is_some());

    let body = reqwest::Body::wrap(Endless);
    let unguarded = <Http as Respond<reqwest::Request, reqwest::Response, reqwest::Error>>::admit(
        &http,
        seed.clone(),
        from_url(&url, body),
        None::<AtOnce>,
    );
    assert_eq!(unguarded.url(), &url);
    let mut guarded = <Http as Respond<reqwest::Request, reqwest::Response, reqwest::Error>>::admit(
        &http,
        seed,
        unguarded,
        Some(AtOnce),
    );
    assert_eq!(guarded.url(), &url);
    let error = guarded.chunk().await.unwrap_err();
    assert!(Rejection::in_chain(&error).is_some());
}

fn rejection(reason: Reason) -> Rejection {
    Rejection::new(reason, Origin::new("any"))
}

/// `Infallible` stands for axum: a rejection never needs an error.
fn reject(request: &Request<()>, why: Rejection) -> Response<ControlBody<Endless, AtOnce>> {
    let http = Http::new();
    let seed = <Http as Respond<_, Response<Endless>, Infallible>>::seed(&http, request);
    let answer = <Http as Respond<Request<()>, Response<Endless>, Infallible>>::reject::<AtOnce>(
        &http, seed, why,
    );
    let Ok(response) = answer;
    response
}

fn admit<G: Guard>(
    request: &Request<()>,
    response: Response<Endless>,
    guard: Option<G>,
) -> Response<ControlBody<Endless, G>> {
    let http = Http::new();
    let seed = <Http as Respond<_, Response<Endless>, Infallible>>::seed(&http, request);
    <Http as Respond<Request<()>, _, Infallible>>::admit(&http, seed, response, guard)
}

fn grpc() -> Request<()> {
    Request::builder().header("content-type", "application/grpc+proto").body(()).unwrap()
}

#[cfg(feature = "reqwest")]
fn from_url(url: &reqwest::Url, body: reqwest::Body) -> reqwest::Response {
    use reqwest::ResponseBuilderExt;
    Response::builder().url(url.clone()).body(body).unwrap().into()
}

/// A body that never has anything to say.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Pending
    }
}

/// Cuts off whatever is not there yet.
struct AtOnce;

impl Guard for AtOnce {
    fn poll_cut(&mut self, _: &mut Context<'_>) -> Poll<Rejection> {
        Poll::Ready(rejection(Reason::DeadlineExceeded))
    }
}
