//! `DeadlineLayer` around an axum router, and a handler that reads the remaining time.
//!
//! Prints the response of a fast handler and the 504 of a handler that never responds.

use std::{future::pending, time::Duration};

use axum::{Router, body::Body, routing::get};
use buttress::{BoxError, Deadline, DeadlineLayer, HttpExt};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::net::TcpListener;

async fn hello() -> String {
    // The layer sets the ambient deadline, so handlers and clients within them can read it.
    let left = Deadline::current().map(Deadline::remaining).unwrap_or_default();
    format!("hello, with {} ms left", left.as_millis())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // `.http()` turns an exceeded deadline into a 504.
    let deadline = DeadlineLayer::new(Duration::from_millis(300)).http();
    let handle = deadline.handle();
    let app = Router::new()
        .route("/hello", get(hello))
        .route("/stuck", get(pending::<()>))
        .layer(deadline);

    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let requests = async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        for (path, expected) in [("hello", StatusCode::OK), ("stuck", StatusCode::GATEWAY_TIMEOUT)]
        {
            let uri = format!("http://{address}/{path}");
            let response = client.request(Request::get(uri).body(Body::empty())?).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            println!("/{path}: {status} {}", String::from_utf8_lossy(&body));
            assert_eq!(status, expected);
        }
        Ok::<_, BoxError>(())
    };
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        done = requests => done?,
    }
    assert_eq!(handle.exceeded(), 1);
    println!("{} request exceeded its deadline", handle.exceeded());
    Ok(())
}
