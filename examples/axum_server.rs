//! An axum server that answers in time, and a handler that knows how much time it has.

use std::{future::pending, time::Duration};

use axum::{Router, body::Body, routing::get};
use buttress::{BoxError, Deadline, DeadlineLayer, HttpExt};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::net::TcpListener;

async fn hello() -> String {
    let left = Deadline::current().map(Deadline::remaining).unwrap_or_default();
    format!("hello, with {} ms left", left.as_millis())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let deadline = DeadlineLayer::new(Duration::from_millis(300)).http();
    let counts = deadline.handle();
    let app = Router::new()
        .route("/hello", get(hello))
        .route("/stuck", get(pending::<()>))
        .layer(deadline);

    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let visit = async {
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
        visited = visit => visited?,
    }
    assert_eq!(counts.exceeded(), 1);
    println!("{} call ran out of time", counts.exceeded());
    Ok(())
}
