//! What an adaptive limit makes of the answers of HTTP and gRPC.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{cmp::Ordering, convert::Infallible, future::pending, time::Duration};

use axum::body::Body;
use buttress::{BoxError, DeadlineLayer, HttpExt, ThrottleLayer, throttle::Aimd};
use http::{Request, Response};
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneService};

/// A service of HTTP, or a stack of layers over one.
type Web = BoxCloneService<Request<String>, Response<Body>, Infallible>;

/// What is answered to all calls: a status and headers.
type Answer = (u16, &'static [(&'static str, &'static str)]);

const GRPC: (&str, &str) = ("content-type", "application/grpc");

/// Where the limit has gone after a thousand calls, as many at a time as it began with.
async fn limit_over(service: Web, content_type: &str) -> Ordering {
    let layer = ThrottleLayer::adaptive(Aimd::default()).http();
    let handle = layer.handle();
    let before = handle.limit();
    let service = layer.layer(service);
    for _ in 0..1000 / before {
        let mut calls = JoinSet::new();
        for _ in 0..before {
            let request = Request::post("/").header("content-type", content_type);
            calls.spawn(service.clone().oneshot(request.body(String::new()).unwrap()));
        }
        calls.join_all().await;
    }
    assert_eq!(handle.in_flight(), 0);
    handle.limit().cmp(&before)
}

/// A service that takes ten milliseconds for each answer.
fn answering((status, headers): Answer) -> Web {
    let answer = move |_| async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        Ok(response.body(Body::empty()).unwrap())
    };
    service_fn(answer).boxed_clone()
}

#[tokio::test(start_paused = true)]
async fn answers_that_the_service_gave_in_time_let_the_limit_grow() {
    for answer in [(200, [].as_slice()), (404, &[]), (409, &[])] {
        let ordering = limit_over(answering(answer), "text/plain").await;
        assert_eq!(ordering, Ordering::Greater, "{answer:?}");
    }
    let grpc =
        [(200, [GRPC, ("grpc-status", "0")].as_slice()), (200, &[GRPC, ("grpc-status", "5")])];
    for answer in grpc {
        let ordering = limit_over(answering(answer), GRPC.1).await;
        assert_eq!(ordering, Ordering::Greater, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_ask_for_less_let_it_shrink() {
    for answer in [(429, [].as_slice()), (503, &[("retry-after", "1")])] {
        let ordering = limit_over(answering(answer), "text/plain").await;
        assert_eq!(ordering, Ordering::Less, "{answer:?}");
    }
    let grpc = [
        (200, [GRPC, ("grpc-status", "4")].as_slice()),
        (200, &[GRPC, ("grpc-status", "8")]),
        (200, &[GRPC, ("grpc-status", "14"), ("grpc-retry-pushback-ms", "100")]),
    ];
    for answer in grpc {
        let ordering = limit_over(answering(answer), GRPC.1).await;
        assert_eq!(ordering, Ordering::Less, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_that_say_nothing_of_load_leave_it_where_it_is() {
    for answer in [(500, [].as_slice()), (502, &[]), (503, &[])] {
        let ordering = limit_over(answering(answer), "text/plain").await;
        assert_eq!(ordering, Ordering::Equal, "{answer:?}");
    }
    let unavailable = (200, [GRPC, ("grpc-status", "14")].as_slice());
    assert_eq!(limit_over(answering(unavailable), GRPC.1).await, Ordering::Equal);
}

/// Puts `layer` over a service that never answers.
fn never_answering<L, B>(layer: L) -> Web
where
    L: Layer<Web>,
    L::Service: tower::Service<Request<String>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let never = service_fn(|_| pending::<Result<Response<Body>, Infallible>>());
    layer.layer(never.boxed_clone()).map_response(|response| response.map(Body::new)).boxed_clone()
}

#[tokio::test(start_paused = true)]
async fn an_attempts_timeout_lets_it_shrink_and_a_limit_further_in_does_not() {
    let timeout = || DeadlineLayer::new(Duration::from_millis(10)).http();
    let full = || ThrottleLayer::concurrency(0).http();
    for content_type in ["text/plain", GRPC.1] {
        let ordering = limit_over(never_answering(timeout()), content_type).await;
        assert_eq!(ordering, Ordering::Less);
        let ordering = limit_over(never_answering(full()), content_type).await;
        assert_eq!(ordering, Ordering::Equal);
    }
}
