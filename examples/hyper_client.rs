//! `DeadlineLayer`, `RetryLayer` and `ThrottleLayer` around the client of hyper-util.
//!
//! The retries send the request body again. Prints each call of the upstream, and the final status.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use axum::{Router, routing::put};
use buttress::{Backoff, BoxError, DeadlineLayer, HttpExt, RetryLayer, ThrottleLayer};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};

/// Responds with a 503 twice, then with a 201.
async fn save(body: String) -> StatusCode {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    let status = if call < 3 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CREATED };
    println!("upstream, call {call}: {body:?}, {status}");
    status
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let uri = format!("http://{}/", listener.local_addr()?);
    let upstream = axum::serve(listener, Router::new().route("/", put(save)));

    let retry = RetryLayer::new(3).backoff(Backoff::constant(Duration::from_millis(20)));
    let client = ServiceBuilder::new()
        // The time of the whole call: all attempts, the backoff between them and the body.
        .layer(DeadlineLayer::new(Duration::from_secs(5)).http())
        // At most three attempts. PUT is idempotent, so a 503 is retried.
        .layer(retry.http())
        // At most 32 requests in flight and 200 in the queue.
        .layer(ThrottleLayer::concurrency(32).queue(200).http())
        // The time of an attempt, without the time in the queue.
        .layer(DeadlineLayer::new(Duration::from_secs(1)).named("attempt").http())
        .service(Client::builder(TokioExecutor::new()).build_http());

    let request = Request::put(uri).body(Full::new(Bytes::from_static(b"a whole body")))?;
    tokio::select! {
        served = upstream => served?,
        response = client.oneshot(request) => {
            let response = response?;
            assert_eq!(response.status(), StatusCode::CREATED);
            println!("caller: {}", response.status());
        }
    }
    Ok(())
}
