//! How much a call matters, from the header of a request to those that the handler sends.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{convert::Infallible, net::SocketAddr};

use axum::{Extension, Router, body::Body, response::Response, routing::get};
use buttress::{Criticality, Http, HttpExt, ThrottleLayer};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use loopback::{Checkup, background, channel, http1, incoming, nothing, serve, streams, until};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tonic::transport::Server;
use tonic_health::pb::{
    HealthCheckRequest, health_client::HealthClient, health_server::HealthServer,
};
use tower::{ServiceBuilder, ServiceExt};

const CRITICALITY: HeaderName = HeaderName::from_static("x-criticality");

fn limit(limit: u32) -> ThrottleLayer<Http> {
    ThrottleLayer::concurrency(limit).http()
}

/// The status and the body of what `path` answers to a request that matters so much.
async fn ask(address: SocketAddr, path: &str, criticality: Option<&str>) -> (StatusCode, String) {
    let mut request = Request::get(format!("http://{address}/{path}")).body(nothing()).unwrap();
    if let Some(criticality) = criticality {
        request.headers_mut().insert(CRITICALITY, criticality.parse().unwrap());
    }
    let response = http1().request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn in_a_full_queue_the_header_decides_who_is_shed() {
    let layer = limit(1).queue(1);
    let (handle, (streams, mut writers)) = (layer.handle(), streams());
    let app = Router::new().route("/", get(async move || streams.respond())).layer(layer);
    let address = serve(app).await.unwrap();
    let mut running = JoinSet::new();
    running.spawn(ask(address, "", None));
    let writer = writers.next().await;
    let mut sheddable = JoinSet::new();
    sheddable.spawn(ask(address, "", Some("sheddable-plus")));
    until(|| handle.queued() == 1).await;
    let (status, _) = ask(address, "", Some("sheddable")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "it matters less than the one who waits");
    let mut critical = JoinSet::new();
    critical.spawn(ask(address, "", None));
    let (status, _) = sheddable.join_next().await.unwrap().unwrap();
    assert_eq!(
        status,
        StatusCode::SERVICE_UNAVAILABLE,
        "somebody who matters more needs the place"
    );
    assert_eq!(Criticality::ALL.map(|criticality| handle.rejected_at(criticality)), [1, 1, 0, 0]);
    drop(writer);
    writers.next().await.write("served");
    let (_, body) = critical.join_next().await.unwrap().unwrap();
    assert_eq!(body, "served");
}

/// What is ambient in the handler, and when the body is polled.
async fn tell() -> Response {
    let line = || format!("{} ", Criticality::current().as_str());
    let lines = tokio_stream::iter([line()]).chain(tokio_stream::once(()).map(move |()| line()));
    Response::new(Body::from_stream(lines.map(Ok::<_, Infallible>)))
}

#[tokio::test]
async fn the_header_is_ambient_in_the_handler_and_its_body() {
    let address = serve(Router::new().route("/", get(tell)).layer(limit(1))).await.unwrap();
    for criticality in Criticality::ALL.map(Criticality::as_str) {
        let (_, told) = ask(address, "", Some(criticality)).await;
        assert_eq!(told, format!("{criticality} {criticality} "));
    }
    assert_eq!(ask(address, "", None).await.1, "critical critical ");
}

#[tokio::test]
async fn the_criticality_is_ambient_in_the_handler_of_a_queued_call() {
    let layer = limit(1).queue(1);
    let (handle, (streams, mut writers)) = (layer.handle(), streams());
    let app = Router::new()
        .route("/stream", get(async move || streams.respond()))
        .route("/tell", get(tell))
        .layer(layer);
    let address = serve(app).await.unwrap();
    let mut calls = JoinSet::new();
    calls.spawn(async move {
        ask(address, "stream", None).await;
    });
    let writer = writers.next().await;
    calls.spawn(async move {
        let (_, told) = ask(address, "tell", Some("sheddable")).await;
        assert_eq!(told, "sheddable sheddable ");
    });
    until(|| handle.queued() == 1).await;
    drop(writer);
    calls.join_all().await;
}

#[tokio::test]
async fn the_criticality_extension_takes_precedence_over_the_header() {
    let app = Router::new().route("/", get(tell)).layer(limit(1));
    let address = serve(app.layer(Extension(Criticality::SheddablePlus))).await.unwrap();
    let (_, told) = ask(address, "", Some("critical-plus")).await;
    assert_eq!(told, "sheddable-plus sheddable-plus ");
}

/// The header of a request as it came.
async fn echo(headers: HeaderMap) -> String {
    headers.get(CRITICALITY).map_or("none", |value| value.to_str().unwrap()).to_owned()
}

/// A server whose handler asks one that echoes the header, through a limited client.
async fn two_servers(front: ThrottleLayer<Http>) -> SocketAddr {
    let backend = serve(Router::new().route("/", get(echo))).await.unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let client = ServiceBuilder::new().layer(limit(9)).service(client);
    let handler = async move || {
        let request = Request::get(format!("http://{backend}/")).body(Empty::new()).unwrap();
        let response = client.oneshot(request).await.unwrap();
        Response::new(Body::new(response.into_body()))
    };
    serve(Router::new().route("/", get(handler)).layer(front)).await.unwrap()
}

#[tokio::test]
async fn the_criticality_travels_with_the_calls_of_a_handler() {
    let address = two_servers(limit(1)).await;
    for criticality in ["sheddable", "sheddable-plus", "critical-plus"] {
        assert_eq!(ask(address, "", Some(criticality)).await.1, criticality);
    }
    // What no header means is not written.
    assert_eq!(ask(address, "", None).await.1, "none");
}

#[tokio::test]
async fn a_header_from_outside_goes_no_further_than_an_edge_that_ignores_it() {
    let edge = ThrottleLayer::concurrency(1).http_with(Http::new().ignore_criticality_header());
    let address = two_servers(edge.clone()).await;
    assert_eq!(ask(address, "", Some("critical-plus")).await.1, "none");
    assert_eq!(edge.handle().admitted_at(Criticality::Critical), 1);
}

#[tokio::test]
async fn no_layer_further_in_believes_a_header_that_the_edge_ignores() {
    let edge = ThrottleLayer::concurrency(1).http_with(Http::new().ignore_criticality_header());
    let app = Router::new().route("/", get(tell)).layer(limit(1)).layer(edge);
    let address = serve(app).await.unwrap();
    for said in ["critical-plus", "sheddable"] {
        assert_eq!(ask(address, "", Some(said)).await.1, "critical critical ");
    }
}

#[tokio::test]
async fn a_grpc_call_says_in_its_metadata_how_much_it_matters() {
    let checkup = Checkup::default();
    let (address, incoming) = incoming().unwrap();
    let layer = limit(1);
    let mut server = Server::builder().layer(layer.clone());
    let server = server.add_service(HealthServer::new(checkup.clone()));
    background(server.serve_with_incoming(incoming));
    let stack = ServiceBuilder::new().layer(limit(1)).service(channel(address).unwrap());
    let mut client = HealthClient::new(stack);
    let check = client.check(HealthCheckRequest::default());
    Criticality::Sheddable.around(check).await.unwrap();
    assert_eq!(checkup.seen()[0].metadata.get("x-criticality").unwrap(), "sheddable");
    assert_eq!(layer.handle().admitted_at(Criticality::Sheddable), 1);
}
