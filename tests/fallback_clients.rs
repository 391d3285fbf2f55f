//! A fallback around clients of hyper-util and reqwest, and around a service without HTTP.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{fmt, net::SocketAddr};

use axum::{
    Router,
    routing::{any, get},
};
use buttress::{
    Degraded, FallbackLayer, FallbackSnapshot, Http, HttpExt, Verdict, fallback::Source,
};
use buttress_testkit::counts;
use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use loopback::{AnyBody, AnyClient, get_of, http1, http2, listen, read, serve, streams};
use reqwest::ResponseBuilderExt;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");

/// An upstream that fails every call.
async fn broken() -> SocketAddr {
    serve(Router::new().fallback(any(async || StatusCode::BAD_GATEWAY))).await.unwrap()
}

/// An upstream that answers every call.
async fn fine() -> SocketAddr {
    serve(Router::new().fallback(any(async |body: String| format!("fine: {body}")))).await.unwrap()
}

/// An address that refuses connections.
async fn refusing() -> SocketAddr {
    let (address, listener) = listen().await.unwrap();
    drop(listener);
    address
}

/// A response that is `Clone`, which hyper's own is not.
fn sorry() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("sorry"));
    *response.status_mut() = StatusCode::NON_AUTHORITATIVE_INFORMATION;
    response
}

#[tokio::test]
async fn client_of_hyper_is_answered_with_a_response_that_no_connection_made() {
    for client in [http1(), http2()] {
        let layer = FallbackLayer::value(sorry()).http();
        let service = layer.layer(client);
        for address in [broken().await, refusing().await] {
            let answer = service.clone().oneshot(get_of(address, "")).await.unwrap();
            assert_eq!(answer.status(), StatusCode::NON_AUTHORITATIVE_INFORMATION);
            let degraded = answer.extensions().get::<Degraded>().unwrap();
            assert_eq!(degraded.source, Source::Value);
            assert_eq!(read(answer).await, "sorry");
        }
        let expected = counts!(FallbackSnapshot { calls: 2, answered: 2 });
        assert_eq!(layer.handle().snapshot(), expected);
    }
}

#[tokio::test]
async fn response_of_hyper_passes_while_its_body_streams() {
    let (streams, mut writers) = streams();
    let address = serve(Router::new().route("/", get(async move || streams.respond()))).await;
    for client in [http1(), http2()] {
        let service = FallbackLayer::value(sorry()).http().layer(client);
        let response = service.oneshot(get_of(*address.as_ref().unwrap(), "")).await.unwrap();
        assert!(response.extensions().get::<Degraded>().is_none());
        let writer = writers.next().await;
        writer.write("bit by bit");
        drop(writer);
        assert_eq!(read(response).await, "bit by bit");
    }
}

#[tokio::test]
async fn closure_sees_the_response_or_the_error_of_hyper() {
    let page =
        |verdict, outcome: Result<&Response<Incoming>, &hyper_util::client::legacy::Error>| {
            let cause = match outcome {
                Ok(response) => response.status().to_string(),
                Err(error) => format!("connect: {}", error.is_connect()),
            };
            Response::new(format!("{verdict:?}, {cause}"))
        };
    let service = FallbackLayer::answer(page).http().layer(http1());
    let answer = service.clone().oneshot(get_of(broken().await, "")).await.unwrap();
    assert_eq!(read(answer).await, "Transient, 502 Bad Gateway");
    let answer = service.oneshot(get_of(refusing().await, "")).await.unwrap();
    assert_eq!(read(answer).await, "NeverProcessed, connect: true");
}

/// A client that sends every request to `address`.
fn replica(
    client: AnyClient,
    address: SocketAddr,
) -> impl Service<
    Request<AnyBody>,
    Response = Response<Incoming>,
    Error = hyper_util::client::legacy::Error,
    Future: Send,
> + Clone {
    ServiceBuilder::new()
        .map_request(move |mut request: Request<AnyBody>| {
            let path = request.uri().path_and_query().unwrap().as_str();
            *request.uri_mut() = Uri::try_from(format!("http://{address}{path}")).unwrap();
            request
        })
        .service(client)
}

#[tokio::test]
async fn replica_of_hyper_gets_the_request_with_its_body() {
    let layer = FallbackLayer::service(replica(http1(), fine().await)).http();
    let service = layer.layer(http1());
    for address in [broken().await, refusing().await] {
        let body = loopback::chunks(&["bit ", "by ", "bit"]);
        let request = Request::post(format!("http://{address}/")).body(body).unwrap();
        let answer = service.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.extensions().get::<Degraded>().unwrap().source, Source::Service);
        assert_eq!(read(answer).await, "fine: bit by bit");
    }
    let expected = counts!(FallbackSnapshot { calls: 2, answered: 2 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test]
async fn first_outcome_of_hyper_is_returned_if_the_replica_fails_too() {
    let layer = FallbackLayer::service(replica(http1(), refusing().await)).http();
    let service = layer.layer(http1());
    let first = service.clone().oneshot(get_of(broken().await, "")).await.unwrap();
    assert_eq!(first.status(), StatusCode::BAD_GATEWAY);
    assert!(first.extensions().get::<Degraded>().is_none());
    let error = service.oneshot(get_of(refusing().await, "")).await.unwrap_err();
    assert!(error.is_connect());
    let expected = counts!(FallbackSnapshot { calls: 2, failed: 2 });
    assert_eq!(layer.handle().snapshot(), expected);
}

fn client_of_reqwest() -> reqwest::Client {
    reqwest::Client::builder().retry(reqwest::retry::never()).no_proxy().build().unwrap()
}

fn url(address: SocketAddr) -> reqwest::Url {
    format!("http://{address}/").parse().unwrap()
}

fn ask(address: SocketAddr) -> reqwest::Request {
    reqwest::Request::new(Method::GET, url(address))
}

#[tokio::test]
async fn client_of_reqwest_is_answered_with_a_response_of_reqwest() {
    let sorry = Response::builder()
        .url("http://example.test/".parse().unwrap())
        .status(StatusCode::NON_AUTHORITATIVE_INFORMATION)
        .body("sorry")
        .unwrap();
    let layer = FallbackLayer::value(sorry).http_with(Http::new().fallback_header(SERVED_BY));
    let service = layer.layer(client_of_reqwest());
    for address in [broken().await, refusing().await] {
        let answer: reqwest::Response = service.clone().oneshot(ask(address)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NON_AUTHORITATIVE_INFORMATION);
        assert_eq!(answer.url().as_str(), "http://example.test/");
        assert_eq!(answer.headers()[SERVED_BY], "fallback");
        assert_eq!(answer.extensions().get::<Degraded>().unwrap().source, Source::Value);
        assert_eq!(answer.text().await.unwrap(), "sorry");
    }
    let passed = service.oneshot(ask(fine().await)).await.unwrap();
    assert_eq!(passed.text().await.unwrap(), "fine: ");
    let expected = counts!(FallbackSnapshot { calls: 3, answered: 2 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test]
async fn replica_of_reqwest_gets_the_request_with_its_body() {
    let address = fine().await;
    let replica = ServiceBuilder::new()
        .map_request(move |mut request: reqwest::Request| {
            *request.url_mut() = url(address);
            request
        })
        .service(client_of_reqwest());
    let layer = FallbackLayer::service(replica).http();
    let service = layer.layer(client_of_reqwest());
    for first in [broken().await, refusing().await] {
        let mut request = reqwest::Request::new(Method::POST, url(first));
        *request.body_mut() = Some("whole".into());
        let answer = service.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.url(), &url(address));
        assert_eq!(answer.extensions().get::<Degraded>().unwrap().source, Source::Service);
        assert_eq!(answer.text().await.unwrap(), "fine: whole");
    }
    assert_eq!(layer.handle().answered(), 2);
}

/// The errors of a database client that knows nothing of these crates.
#[derive(Debug, PartialEq)]
enum DatabaseError {
    NoSuchRow,
    PoolClosed,
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for DatabaseError {}

async fn row(number: u32) -> Result<&'static str, DatabaseError> {
    match number {
        0 => Err(DatabaseError::PoolClosed),
        1 => Ok("one"),
        _ => Err(DatabaseError::NoSuchRow),
    }
}

fn judge(outcome: Result<&&'static str, &DatabaseError>) -> Verdict {
    match outcome {
        Ok(_) => Verdict::Success,
        Err(DatabaseError::NoSuchRow) => Verdict::Permanent,
        Err(DatabaseError::PoolClosed) => Verdict::Unknown,
    }
}

#[tokio::test]
async fn service_without_http_keeps_its_error_enum() {
    let value = FallbackLayer::value("unknown").classify(judge).layer(service_fn(row));
    assert_eq!(value.clone().oneshot(0).await, Ok("unknown"));
    assert_eq!(value.clone().oneshot(1).await, Ok("one"));
    assert_eq!(value.oneshot(2).await, Err(DatabaseError::NoSuchRow));
    let replica = service_fn(async |number: u32| match number {
        0 => Ok("of the replica"),
        _ => Err(DatabaseError::PoolClosed),
    });
    let replica = FallbackLayer::service(replica).classify(judge).layer(service_fn(row));
    assert_eq!(replica.oneshot(0).await, Ok("of the replica"));
}
