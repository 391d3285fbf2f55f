//! `DeadlineLayer`, `DedupLayer` and `RetryLayer` around a reqwest client, and a deadline around its connector.
//!
//! Two concurrent requests share one call with two retries. Prints the body of both, and the retries.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use axum::{Router, routing::get};
use buttress::{Backoff, BoxError, DeadlineLayer, DedupLayer, HttpExt, RetryLayer};
use http::{Method, StatusCode};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};

/// Responds with a 503 twice, then with a 200.
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
    let handle = retry.handle();
    let transport = reqwest::Client::builder()
        // The retry layer below decides, with its budget. reqwest must not retry as well.
        .retry(reqwest::retry::never())
        // A redirect is a response that the layers see, not a hidden second request.
        .redirect(reqwest::redirect::Policy::none())
        // reqwest accepts tower layers around its connector: at most 1 s to connect.
        .connector_layer(DeadlineLayer::new(Duration::from_secs(1)).named("connect"))
        .build()?;
    let client = ServiceBuilder::new()
        // The time of the whole call, including all attempts and connecting.
        .layer(DeadlineLayer::new(Duration::from_secs(5)).http())
        // Outside of the retries, so that concurrent callers share the final response.
        .layer(DedupLayer::new().http())
        // At most three attempts, 20 ms apart.
        .layer(retry)
        .service(transport);

    let fetch = async |name| {
        let request = reqwest::Request::new(Method::GET, url.parse()?);
        let response = client.clone().oneshot(request).await?;
        assert_eq!(response.url().as_str(), url);
        println!("{name}: {}", response.text().await?);
        Ok::<_, BoxError>(())
    };
    tokio::select! {
        served = upstream => served?,
        done = async { tokio::try_join!(fetch("first caller"), fetch("second caller")) } => drop(done?),
    }
    assert_eq!(handle.retries(), 2);
    println!("{} retries, shared by both callers", handle.retries());
    Ok(())
}
