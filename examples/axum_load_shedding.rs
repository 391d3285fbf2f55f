//! An axum server that sheds what it cannot bear, the least critical first, and counts a download as work
//! until its last byte.

use std::{convert::Infallible, iter::repeat_n};

use axum::{Router, body::Body, routing::get};
use buttress::{BoxError, Criticality, HttpExt, ThrottleLayer};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{net::TcpListener, task::JoinSet, task::yield_now};

/// More than the sockets between server and client hold.
async fn export() -> Body {
    let chunk = Ok::<_, Infallible>(Bytes::from(vec![b'.'; 65_536]));
    Body::from_stream(tokio_stream::iter(repeat_n(chunk, 512)))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let throttle = ThrottleLayer::concurrency(1).queue(1).http();
    let counts = throttle.handle();
    let app = Router::new()
        .route("/export", get(export))
        .route("/hello", get(|| async { "hello" }))
        .layer(throttle);

    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let visit = async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let ask = |path: &str, criticality: Criticality| {
            let request = Request::get(format!("http://{address}/{path}"))
                .header("x-criticality", criticality.as_str())
                .body(Body::empty());
            let client = client.clone();
            async move { Ok::<Response<_>, BoxError>(client.request(request?).await?) }
        };

        // The head is here, the body is not read: the one permit is held.
        let download = ask("export", Criticality::Critical).await?;
        println!("export: {}, in flight: {}", download.status(), counts.in_flight());

        let mut waiting = JoinSet::new();
        waiting.spawn(ask("hello", Criticality::Sheddable));
        while counts.queued() < 1 {
            yield_now().await;
        }
        let crowded = ask("hello", Criticality::Sheddable).await?;
        println!("sheddable, with the queue full: {}", crowded.status());
        assert_eq!(crowded.status(), 503);

        // A user's request takes the place of one that can wait for another day.
        let user = ask("hello", Criticality::Critical);
        let shed = async { waiting.join_next().await.ok_or("one waits")?? };
        let read = async {
            let shed: Response<_> = shed.await?;
            println!("sheddable, from the queue: {}", shed.status());
            assert_eq!(shed.status(), 503);
            let bytes = download.into_body().collect().await?.to_bytes().len();
            println!("export: read to its end, {} MiB", bytes >> 20);
            Ok::<_, BoxError>(())
        };
        let (user, ()) = tokio::try_join!(user, read)?;
        println!("critical: {}", user.status());
        assert_eq!(user.status(), 200);
        Ok::<_, BoxError>(())
    };
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        visited = visit => visited?,
    }
    assert_eq!((counts.admitted(), counts.rejected()), (2, 2));
    println!("admitted: {}, rejected: {}", counts.admitted(), counts.rejected());
    Ok(())
}
