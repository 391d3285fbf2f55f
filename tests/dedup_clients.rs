//! One request for many callers of a client, of hyper-util and of reqwest.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, response::Redirect, routing::get};
use buttress::{
    Backoff, BoxError, Cache, DeadlineLayer, DedupLayer, Http, HttpExt, Reason, RetryLayer,
    ThrottleLayer, http_grpc::ResponseHead,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::client::legacy;
use loopback::{
    AnyBody, AnyClient, Gated, Work, background, get_of, http1, http2, listen, read, serve,
    streams, until,
};
use tokio::task::JoinSet;
use tower::{Service, ServiceBuilder, ServiceExt};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

fn dedup() -> DedupLayer<Http> {
    DedupLayer::new().http()
}

/// An upstream that answers with the number of the call, when the test gives leave.
async fn upstream() -> (SocketAddr, Work) {
    let work = Work::default();
    let handler = {
        let work = work.clone();
        async move || work.call().await.to_string()
    };
    let redirect = get(async || Redirect::temporary("/final"));
    let app = Router::new().route("/moved", redirect).fallback(handler);
    (serve(app).await.unwrap(), work)
}

/// Ten calls of one service.
fn ten<S, Req>(service: &S, request: impl Fn() -> Req) -> JoinSet<Result<S::Response, S::Error>>
where
    S: Service<Req, Response: Send, Error: Send, Future: Send> + Clone + Send + 'static,
    S::Response: 'static,
    S::Error: 'static,
    Req: Send + 'static,
{
    let calls = (0..10).map(|_| service.clone().oneshot(request()));
    let mut set = JoinSet::new();
    calls.for_each(|call| drop(set.spawn(call)));
    set
}

#[tokio::test]
async fn ten_calls_of_hyper_are_one_request() {
    let (address, work) = upstream().await;
    for (round, client) in (1..).zip([http1(), http2()]) {
        let layer = dedup();
        let stack = ServiceBuilder::new().layer(layer.clone()).service(client);
        let calls = ten(&stack, || get_of(address, ""));
        until(|| layer.handle().waiters() == 10 && work.running() == 1).await;
        work.allow(1);
        for response in calls.join_all().await {
            let response = response.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(read(response).await, round.to_string());
        }
        assert_eq!((work.calls(), layer.handle().in_flight()), (round, 0));
    }
}

#[tokio::test]
async fn ten_calls_of_reqwest_are_one_request_and_know_where_it_ended() {
    let (address, work) = upstream().await;
    let layer = dedup();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(client_of_reqwest());
    let url: reqwest::Url = format!("http://{address}/moved").parse().unwrap();
    let calls = ten(&stack, || reqwest::Request::new(Method::GET, url.clone()));
    until(|| layer.handle().waiters() == 10 && work.running() == 1).await;
    work.allow(1);
    for response in calls.join_all().await {
        let response = response.unwrap();
        assert_eq!(response.url().as_str(), format!("http://{address}/final"));
        assert_eq!(response.text().await.unwrap(), "1");
    }
    until(|| layer.handle().in_flight() == 0).await;
    assert_eq!((work.calls(), layer.handle().leaders()), (1, 1));
}

fn client_of_reqwest() -> reqwest::Client {
    reqwest::Client::builder().retry(reqwest::retry::never()).no_proxy().build().unwrap()
}

/// A body of two chunks and trailers.
async fn with_trailers() -> Response<AnyBody> {
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-checksum"),
        HeaderValue::from_static("42"),
    )]);
    let data = |chunk: &'static str| Ok(Frame::data(Bytes::from(chunk)));
    let frames = [data("one "), data("two"), Ok::<_, BoxError>(Frame::trailers(trailers))];
    Response::new(StreamBody::new(tokio_stream::iter(frames)).boxed_unsync())
}

#[tokio::test]
async fn a_body_and_its_trailers_reach_all_callers_while_streamed_and_from_the_cache() {
    let address = serve(Router::new().route("/", get(with_trailers))).await.unwrap();
    let layer = DedupLayer::new().cache(Cache::new(LONG)).http();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(http2());
    for _ in 0..2 {
        let calls = ten(&stack, || get_of(address, ""));
        for response in calls.join_all().await {
            let body = response.unwrap().into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["x-checksum"], "42");
            assert_eq!(body.to_bytes(), "one two");
        }
    }
    assert_eq!((layer.handle().leaders(), layer.handle().cache_entries()), (1, 1));
    assert!(layer.handle().cache_hits() >= 10);
}

/// A server that closes each connection when the test gives leave, without a word.
async fn closing() -> (SocketAddr, Work) {
    let (address, listener) = listen().await.unwrap();
    let work = Work::default();
    background({
        let work = work.clone();
        async move {
            while let Ok((connection, _)) = listener.accept().await {
                work.call().await;
                drop(connection);
            }
        }
    });
    (address, work)
}

#[tokio::test]
async fn after_an_error_one_caller_at_a_time_makes_a_call_and_has_its_own_error() {
    let (address, work) = closing().await;
    let layer = dedup();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(http1());
    let mut calls = ten(&stack, || get_of(address, ""));
    until(|| layer.handle().waiters() == 10).await;
    for call in 1..=10 {
        until(|| work.running() == 1).await;
        assert_eq!((work.calls(), layer.handle().in_flight()), (call, 1));
        work.allow(1);
        let error: legacy::Error = calls.join_next().await.unwrap().unwrap().unwrap_err();
        assert!(!error.is_connect());
    }
    assert_eq!((work.calls(), layer.handle().leaders()), (10, 10));
    assert_eq!((layer.handle().in_flight(), layer.handle().waiters()), (0, 0));
}

#[tokio::test]
async fn an_error_of_reqwest_is_not_shared() {
    let (address, listener) = listen().await.unwrap();
    drop(listener);
    let layer = dedup();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(client_of_reqwest());
    let url: reqwest::Url = format!("http://{address}/").parse().unwrap();
    let calls = ten(&stack, || reqwest::Request::new(Method::GET, url.clone()));
    for outcome in calls.join_all().await {
        let error = outcome.unwrap_err();
        assert!(error.is_connect());
        assert_eq!(error.url(), Some(&url));
    }
    assert_eq!((layer.handle().leaders(), layer.handle().in_flight()), (10, 0));
}

#[tokio::test]
async fn an_error_that_is_clone_is_shared_by_all_callers() {
    let (address, work) = closing().await;
    let layer = dedup().share_errors();
    let stack = ServiceBuilder::new().layer(layer.clone()).map_err(Arc::new).service(http1());
    let calls = ten(&stack, || get_of(address, ""));
    until(|| layer.handle().waiters() == 10 && work.running() == 1).await;
    work.allow(1);
    let errors: Vec<_> = calls.join_all().await.into_iter().map(Result::unwrap_err).collect();
    assert!(errors.windows(2).all(|two| Arc::ptr_eq(&two[0], &two[1])));
    assert_eq!((work.calls(), layer.handle().leaders()), (1, 1));
}

#[tokio::test]
async fn one_set_of_attempts_serves_all_callers() {
    let work = Work::default();
    let handler = {
        let work = work.clone();
        async move || match work.call().await {
            1 | 2 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        }
    };
    let address = serve(Router::new().route("/", get(handler))).await.unwrap();
    let (layer, retry) = (dedup(), RetryLayer::new(3).backoff(Backoff::none()).http());
    let stack = ServiceBuilder::new().layer(layer.clone()).layer(retry.clone()).service(http1());
    let calls = ten(&stack, || get_of(address, ""));
    until(|| layer.handle().waiters() == 10).await;
    work.allow(3);
    for response in calls.join_all().await {
        assert_eq!(response.unwrap().status(), StatusCode::OK);
    }
    assert_eq!((work.calls(), retry.handle().retries(), layer.handle().leaders()), (3, 2, 1));
}

/// The limit rejects at once, so the test has the calls gather in front of it.
#[tokio::test]
async fn a_rejection_by_a_limit_below_reaches_all_callers_and_is_not_cached() {
    let (streams, mut writers) = streams();
    let app = Router::new().fallback(async move || streams.respond());
    let address = serve(app).await.unwrap();
    let limit = ThrottleLayer::concurrency(1).named("upstream").http();
    let limited = ServiceBuilder::new().layer(limit.clone()).service(http1());
    let running = limited.clone().oneshot(get_of(address, "")).await.unwrap();
    let gate = Work::default();
    let layer = DedupLayer::new().cache(Cache::new(LONG).negative_ttl(LONG)).http();
    let stack =
        ServiceBuilder::new().layer(layer.clone()).service(Gated::new(gate.clone(), limited));
    let calls = ten(&stack, || get_of(address, ""));
    until(|| layer.handle().waiters() == 10).await;
    gate.allow(2);
    for response in calls.join_all().await {
        let response = response.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let rejection = response.rejection().unwrap();
        assert_eq!(rejection.reason(), Reason::Overloaded);
        assert_eq!(rejection.origin().to_string(), "throttle `upstream`");
    }
    assert_eq!((limit.handle().rejected(), layer.handle().cache_entries()), (1, 0));
    drop(writers.next().await);
    read(running).await;
    let served = stack.oneshot(get_of(address, "")).await.unwrap();
    assert_eq!(served.status(), StatusCode::OK);
}

/// Behind the layer there is one client, in front of it each caller has a patience of its own.
#[tokio::test]
async fn a_caller_that_times_out_does_not_end_the_flight() {
    for first_is_patient in [true, false] {
        let (address, work) = upstream().await;
        let layer = dedup();
        let shared: AnyShared = ServiceBuilder::new().layer(layer.clone()).service(http1());
        let within = |patience| {
            let deadline = DeadlineLayer::new(patience).named("patience").http();
            ServiceBuilder::new().layer(deadline).service(shared.clone())
        };
        let patience = if first_is_patient { [LONG, SHORT] } else { [SHORT, LONG] };
        let mut calls = JoinSet::new();
        for (caller, patience) in patience.into_iter().enumerate() {
            calls.spawn(within(patience).oneshot(get_of(address, "")));
            until(|| layer.handle().waiters() == caller + 1).await;
        }
        let gone = calls.join_next().await.unwrap().unwrap().unwrap();
        assert_eq!(gone.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(gone.rejection().unwrap().origin().name(), "patience");
        assert_eq!((layer.handle().waiters(), work.running()), (1, 1));
        assert_eq!(layer.handle().handovers(), u64::from(!first_is_patient));
        work.allow(1);
        let served = calls.join_next().await.unwrap().unwrap().unwrap();
        assert_eq!(read(served).await, "1");
        assert_eq!((work.calls(), layer.handle().in_flight()), (1, 0));
    }
}

type AnyShared = <DedupLayer<Http> as tower::Layer<AnyClient>>::Service;
