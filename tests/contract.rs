//! The contract of a tower layer, for layers that speak HTTP and gRPC.

#![expect(clippy::expect_used, reason = "helpers of tests fail like tests")]

use std::{convert::Infallible, time::Duration};

use buttress::{
    Authority, DeadlineLayer, DedupLayer, FallbackLayer, HedgeLayer, HttpExt, Idempotent,
    MeterLayer, OrderLayer, Rate, RetryLayer, ThrottleLayer, client, server, throttle::Vegas,
};
use buttress_testkit::{Clause, Dialect, Heard, Understand, contract};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;

const SECOND: Duration = Duration::from_secs(1);

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
        Request::post("http://example.com/")
            .header("number", number)
            .header("content-type", self.content_type)
            .extension(Idempotent)
            .body(Full::from("request"))
            .expect("a request")
    }

    fn answer(request: Self::Request) -> Self::Response {
        respond(StatusCode::OK, &request)
    }

    fn fail(request: Self::Request) -> Result<Self::Response, Infallible> {
        Ok(respond(StatusCode::NOT_FOUND, &request))
    }
}

fn respond(status: StatusCode, request: &Request<Full<Bytes>>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("response"));
    *response.status_mut() = status;
    response.headers_mut().insert("number", request.headers()["number"].clone());
    response
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

#[tokio::test(start_paused = true)]
async fn http_and_grpc_layers_keep_the_contract() {
    for web in DIALECTS {
        contract(|| DeadlineLayer::new(SECOND).http()).dialect(web).await;
        contract(|| RetryLayer::new(3).http()).dialect(web).await;
        contract(|| {
            (
                DeadlineLayer::new(30 * SECOND).http(),
                RetryLayer::new(3).http(),
                DeadlineLayer::new(5 * SECOND).http(),
            )
        })
        .dialect(web)
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn http_and_grpc_meters_keep_the_contract() {
    for web in DIALECTS {
        contract(|| MeterLayer::call(()).http()).dialect(web).await;
        contract(|| MeterLayer::attempt(()).until_head().http()).dialect(web).await;
    }
}

#[tokio::test(start_paused = true)]
async fn http_and_grpc_limits_keep_the_contract() {
    for web in DIALECTS {
        contract(|| ThrottleLayer::concurrency(48).http()).dialect(web).await;
        contract(|| ThrottleLayer::concurrency(1).queue(48).http()).dialect(web).await;
        contract(|| ThrottleLayer::concurrency(1).queue(48).until_head().http()).dialect(web).await;
        contract(|| ThrottleLayer::concurrency(1).observe().http()).dialect(web).await;
        contract(|| ThrottleLayer::adaptive(Vegas::default()).queue(48).http()).dialect(web).await;
        contract(|| ThrottleLayer::concurrency(1).queue(48).keyed(by_host).http())
            .dialect(web)
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn http_and_grpc_rates_keep_the_contract() {
    for web in DIALECTS {
        contract(|| ThrottleLayer::rate(Rate::per_second(1000)).advertise_quota().http())
            .dialect(web)
            .await;
        // Whose turn comes with time is woken by time, which does not pass in that check.
        contract(|| ThrottleLayer::rate(RARE).queue(48).http())
            .dialect(web)
            .without(Clause::Waking)
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn http_and_grpc_orders_keep_the_contract() {
    for web in DIALECTS {
        contract(|| OrderLayer::serial(by_host).http()).dialect(web).await;
        contract(|| OrderLayer::serial(by_host).until_head().http()).dialect(web).await;
        contract(|| OrderLayer::serial_per(Authority).queue(1).http()).dialect(web).await;
        contract(|| OrderLayer::latest(by_host).http()).dialect(web).await;
        contract(|| OrderLayer::latest_per(Authority).overlapping().http()).dialect(web).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_standard_stack_of_a_client_keeps_the_contract() {
    for web in DIALECTS {
        contract(|| {
            (
                DeadlineLayer::new(30 * SECOND).http(),
                RetryLayer::new(3).http(),
                ThrottleLayer::concurrency(2).queue(48).http(),
                DeadlineLayer::new(5 * SECOND).http(),
            )
        })
        .dialect(web)
        .await;
    }
}

/// A dedup is always ready, so it hides the backpressure.
#[tokio::test(start_paused = true)]
async fn ready_made_client_with_nine_places_keeps_the_contract() {
    for web in DIALECTS {
        contract(|| {
            let sorry = Response::new(Full::<Bytes>::from("sorry"));
            client()
                .fallback(FallbackLayer::value(sorry).when(|_| false))
                .dedup(DedupLayer::new())
                .order(OrderLayer::serial(by_number))
                .hedge(HedgeLayer::learned())
                .edit_breaker(|breaker| breaker.consecutive(50))
                .throttle(ThrottleLayer::concurrency(2).queue(48))
                .http()
        })
        .dialect(web)
        .without(Clause::Backpressure)
        .await;
        contract(|| server().edit_throttle(|limit| limit.queue(48)).http()).dialect(web).await;
    }
}

fn by_number(request: &Request<Full<Bytes>>) -> Option<String> {
    request.headers().get("number")?.to_str().ok().map(str::to_owned)
}

fn by_host(request: &Request<Full<Bytes>>) -> Option<String> {
    request.uri().host().map(str::to_owned)
}

const RARE: Rate = Rate::per_second(100).burst(1);

const DIALECTS: [Web; 2] =
    [Web { content_type: "text/plain" }, Web { content_type: "application/grpc" }];
