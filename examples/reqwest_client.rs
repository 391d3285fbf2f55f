//! A client of reqwest that repeats what failed, within a deadline that also covers connecting, once for
//! all who ask at the same time.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use axum::{Router, routing::get};
use buttress::{Backoff, BoxError, DeadlineLayer, DedupLayer, HttpExt, RetryLayer};
use http::{Method, StatusCode};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};

/// Busy at first.
async fn quote() -> (StatusCode, &'static str) {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    match CALLS.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => (StatusCode::SERVICE_UNAVAILABLE, "later"),
        _ => (StatusCode::OK, "hold up a tower"),
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}/quote", listener.local_addr()?);
    let upstream = axum::serve(listener, Router::new().route("/quote", get(quote)));

    let retry = RetryLayer::new(3).backoff(Backoff::constant(Duration::from_millis(20))).http();
    let counts = retry.handle();
    let transport = reqwest::Client::builder()
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .connector_layer(DeadlineLayer::new(Duration::from_secs(1)).named("connect"))
        .build()?;
    let client = ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(5)).http())
        .layer(DedupLayer::new().http())
        .layer(retry)
        .service(transport);

    let visit = async |name| {
        let request = reqwest::Request::new(Method::GET, url.parse()?);
        let response = client.clone().oneshot(request).await?;
        assert_eq!(response.url().as_str(), url);
        println!("{name}: {}", response.text().await?);
        Ok::<_, BoxError>(())
    };
    tokio::select! {
        served = upstream => served?,
        visited = async { tokio::try_join!(visit("one"), visit("another")) } => drop(visited?),
    }
    assert_eq!(counts.retries(), 2);
    println!("after {} retries, for both", counts.retries());
    Ok(())
}
