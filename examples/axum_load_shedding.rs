//! `ThrottleLayer` around an axum router: a concurrency limit whose queue sheds the least critical requests.
//!
//! A permit is held until the last byte of the response body, so a download counts as one request in flight.
//! Prints the status of each request: served, rejected because the queue is full, or shed from the queue.

use std::{convert::Infallible, iter::repeat_n};

use axum::{Router, body::Body, routing::get};
use buttress::{BoxError, Criticality, HttpExt, ThrottleLayer};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{net::TcpListener, task::JoinSet, task::yield_now};

/// A 32 MiB body: more than the socket buffers between server and client hold.
async fn export() -> Body {
    let chunk = Ok::<_, Infallible>(Bytes::from(vec![b'.'; 65_536]));
    Body::from_stream(tokio_stream::iter(repeat_n(chunk, 512)))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // One request at a time and one in the queue, so that the third request is rejected with a 503.
    let throttle = ThrottleLayer::concurrency(1).queue(1).http();
    let handle = throttle.handle();
    let app = Router::new()
        .route("/export", get(export))
        .route("/hello", get(|| async { "hello" }))
        .layer(throttle);

    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let requests = async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let send = |path: &str, criticality: Criticality| {
            let request = Request::get(format!("http://{address}/{path}"))
                .header("x-criticality", criticality.as_str())
                .body(Body::empty());
            let client = client.clone();
            async move { Ok::<Response<_>, BoxError>(client.request(request?).await?) }
        };

        // The response head has arrived, but the body has not been read: the download holds the permit.
        let download = send("export", Criticality::Critical).await?;
        println!("export: {}, in flight: {}", download.status(), handle.in_flight());

        let mut waiting = JoinSet::new();
        waiting.spawn(send("hello", Criticality::Sheddable));
        while handle.queued() < 1 {
            yield_now().await;
        }
        let rejected = send("hello", Criticality::Sheddable).await?;
        println!("sheddable, queue full: {}", rejected.status());
        assert_eq!(rejected.status(), 503);

        // A critical request takes the queue slot of a sheddable one, which is shed.
        let critical = send("hello", Criticality::Critical);
        let shed = async { waiting.join_next().await.ok_or("one request is queued")?? };
        let read = async {
            let shed: Response<_> = shed.await?;
            println!("sheddable, from the queue: {}", shed.status());
            assert_eq!(shed.status(), 503);
            let bytes = download.into_body().collect().await?.to_bytes().len();
            println!("export: body read, {} MiB", bytes >> 20);
            Ok::<_, BoxError>(())
        };
        let (critical, ()) = tokio::try_join!(critical, read)?;
        println!("critical: {}", critical.status());
        assert_eq!(critical.status(), 200);
        Ok::<_, BoxError>(())
    };
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        done = requests => done?,
    }
    assert_eq!((handle.admitted(), handle.rejected()), (2, 2));
    println!("admitted: {}, rejected: {}", handle.admitted(), handle.rejected());
    Ok(())
}
