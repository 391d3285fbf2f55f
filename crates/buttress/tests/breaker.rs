//! The circuit breaker that the guide shows: the same file, run.

use std::{convert::Infallible, time::Duration};

use buttress::{BoxError, HttpExt, Idempotent, Rejection};
use buttress_testkit::{Dialect, Events, Heard, Probe, Script, Understand, contract, sweep};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tokio::time::{advance, sleep};
use tower::{Layer, ServiceExt};

use breaker::BreakerLayer;

#[expect(unreachable_pub, reason = "public where the guide shows it")]
#[path = "../src/guide/breaker.rs"]
mod breaker;

#[tokio::test(start_paused = true)]
async fn plain_breaker_keeps_the_contract() {
    contract(|| BreakerLayer::new(100, SECOND)).await;
}

#[tokio::test(start_paused = true)]
async fn http_breaker_keeps_the_contract() {
    for content_type in ["text/plain", "application/grpc"] {
        contract(|| BreakerLayer::new(100, SECOND).http()).dialect(Web { content_type }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn breaker_rejects_calls_after_two_failures_in_a_row() {
    let events = Events::of("breaker");
    let upstream = Script::<_, &str, BoxError>::new()
        .answer(|_: u32| Err(BoxError::from("down")))
        .times(2)
        .ok("up")
        .service();
    let service = BreakerLayer::new(2, SECOND).layer(upstream.clone());
    for _ in 0..2 {
        assert!(service.clone().oneshot(1).await.is_err());
    }
    advance(Duration::from_millis(400)).await;
    let error = service.clone().oneshot(1).await.unwrap_err();
    let rejection = Rejection::find(&error).expect("a rejection");
    assert_eq!(rejection.retry_after(), Some(Duration::from_millis(600)));
    assert_eq!(upstream.received().len(), 2);
    assert_eq!(events.names(), ["breaker.opened"]);

    advance(Duration::from_millis(600)).await;
    assert_eq!(service.clone().oneshot(1).await.unwrap(), "up");
    assert_eq!(service.oneshot(1).await.unwrap(), "up");
}

#[tokio::test(start_paused = true)]
async fn breaker_lets_one_probe_through_and_another_when_that_is_dropped() {
    let upstream = Script::<_, &str, BoxError>::new()
        .answer(|_: u32| Err(BoxError::from("down")))
        .hang()
        .ok("up")
        .service();
    let service = BreakerLayer::new(1, SECOND).layer(upstream.clone());
    assert!(service.clone().oneshot(1).await.is_err());
    advance(SECOND).await;

    let probe = tokio::time::timeout(SECOND, service.clone().oneshot(2));
    let other = async {
        sleep(Duration::from_millis(1)).await;
        service.clone().oneshot(3).await
    };
    let (probe, other) = tokio::join!(probe, other);
    assert!(probe.is_err(), "the probe hangs");
    assert!(other.is_err(), "no second call beside a probe");
    assert_eq!(service.oneshot(4).await.unwrap(), "up");
}

#[tokio::test(start_paused = true)]
async fn call_from_an_earlier_phase_does_not_close_the_breaker() {
    let upstream = Script::<_, &str, BoxError>::new()
        .delay(Duration::from_millis(500))
        .ok("late")
        .answer(|_: u32| Err(BoxError::from("down")))
        .service();
    let service = BreakerLayer::new(1, SECOND).layer(upstream.clone());
    let (late, down) = tokio::join!(service.clone().oneshot(1), service.clone().oneshot(2));
    assert!(late.is_ok() && down.is_err());
    assert!(service.oneshot(3).await.is_err());
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn breaker_leaves_nothing_behind_wherever_a_call_is_dropped() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(1).pausing(2);
    let service = BreakerLayer::new(1, SECOND).layer(probe.clone());
    sweep(|| service.clone().oneshot(1)).over(&probe).await;
}

/// Requests and responses bear their number in a header, failures are statuses.
#[derive(Clone, Copy)]
struct Web {
    content_type: &'static str,
}

impl Dialect for Web {
    type Request = Request<Full<Bytes>>;
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;

    fn request(&self, number: u32) -> Self::Request {
        let mut request = Request::new(Full::from("request"));
        request.headers_mut().insert("number", number.into());
        request.headers_mut().insert("content-type", HeaderValue::from_static(self.content_type));
        request.extensions_mut().insert(Idempotent);
        request
    }

    fn answer(request: Self::Request) -> Self::Response {
        respond(StatusCode::OK, &request)
    }

    fn fail(request: Self::Request) -> Result<Self::Response, Infallible> {
        Ok(respond(StatusCode::NOT_FOUND, &request))
    }
}

impl<B: Body> Understand<Response<B>, Infallible> for Web {
    fn understand(&self, outcome: Result<Response<B>, Infallible>) -> Heard {
        let Ok(response) = outcome;
        let number = response.headers().get("number").and_then(|n| n.to_str().ok()?.parse().ok());
        match (response.status(), number, response.body().size_hint().exact()) {
            (StatusCode::OK, Some(number), Some(8)) => Heard::Answer(number),
            (StatusCode::NOT_FOUND, Some(number), Some(8)) => Heard::Failure(number),
            (status, ..) => Heard::Other(status.to_string()),
        }
    }
}

fn respond(status: StatusCode, request: &Request<Full<Bytes>>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("response"));
    *response.status_mut() = status;
    response.headers_mut().insert("number", request.headers()["number"].clone());
    response
}

const SECOND: Duration = Duration::from_secs(1);
