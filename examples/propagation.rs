//! `DeadlineLayer` in an axum server, in the tonic client of its handler, and in a tonic server: one deadline
//! passes through all three.
//!
//! Prints the time left of 3,000 ms on arrival in axum, after some work, and on arrival in tonic.

use std::time::Duration;

use axum::{Router, body::Body, http::StatusCode, routing::get};
use buttress::{BoxError, Deadline, DeadlineLayer, Http, HttpExt};
use http::{HeaderName, Request};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint, Server, server::TcpIncoming};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{ServiceBuilder, ServiceExt};

const TIME_LEFT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

fn left() -> u128 {
    Deadline::current().map(Deadline::remaining).unwrap_or_default().as_millis()
}

/// Works for 100 ms, then calls the tonic server with the remaining time.
async fn handle(backend: Channel) -> Result<String, StatusCode> {
    let on_arrival = left();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let after_work = left();
    // No timeout of its own: the layer sends the remaining time of the handler as `grpc-timeout`.
    let channel = ServiceBuilder::new().layer(DeadlineLayer::propagate().http()).service(backend);
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    answer.map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok(format!("{on_arrival} {after_work}"))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?;
    let channel = Endpoint::try_from(format!("http://{}", incoming.local_addr()?))?.connect_lazy();
    let (time_left, mut in_backend) = tokio::sync::mpsc::unbounded_channel();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let tonic_server = Server::builder()
        // Reads `grpc-timeout` of the request. No timeout of its own.
        .layer(DeadlineLayer::propagate().http())
        .layer(tower::util::MapRequestLayer::new(move |request| {
            let _ = time_left.send(left());
            request
        }))
        .add_service(health)
        .serve_with_incoming(incoming);

    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let uri = format!("http://{}/", listener.local_addr()?);
    // The server's own limit. The header may only shorten the deadline.
    let layer = DeadlineLayer::new(Duration::from_secs(10));
    let app = Router::new()
        .route("/", get(move || handle(channel.clone())))
        .layer(layer.http_with(Http::new().timeout_header(TIME_LEFT)));

    let request = async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let http_request = Request::get(uri).header(TIME_LEFT, 3000).body(Body::empty())?;
        let body = client.oneshot(http_request).await?.into_body().collect().await?.to_bytes();
        let text = String::from_utf8(body.to_vec())?;
        let (on_arrival, after_work) = text.split_once(' ').ok_or("two numbers")?;
        Ok::<[u128; 2], BoxError>([on_arrival.parse()?, after_work.parse()?])
    };
    let [on_arrival, after_work] = tokio::select! {
        served = tonic_server => return Ok(served?),
        served = axum::serve(listener, app) => return Ok(served?),
        times = request => times?,
    };
    let in_backend = in_backend.recv().await.ok_or("no call of the tonic server")?;
    println!(
        "ms left of 3000: {on_arrival} in axum, {after_work} after work, {in_backend} in tonic"
    );
    assert!(3000 >= on_arrival && on_arrival >= after_work + 99 && after_work >= in_backend);
    assert!(in_backend > 0);
    Ok(())
}
