//! A retry over a proxy that closes its connections again and again.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{error::Error, time::Duration};

use buttress::{Backoff, Budget, HttpExt, RetryLayer, Stop};
use bytes::Bytes;
use http::{Request, Response};
use loopback::{background, http2, listen, nothing};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tower::{Layer, ServiceExt};

const REQUESTS: usize = 1000;
const AT_ONCE: usize = 40;
const PER_CONNECTION: usize = 20;

/// Answers so many requests on each connection, and refuses the others with `GOAWAY`.
async fn close_again_and_again(listener: TcpListener) {
    while let Ok((connection, _)) = listener.accept().await {
        background(answer_a_few(connection));
    }
}

async fn answer_a_few(connection: TcpStream) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut connection = h2::server::handshake(connection).await?;
    for _ in 0..PER_CONNECTION {
        let Some(stream) = connection.accept().await else { return Ok(()) };
        let (_, mut respond) = stream?;
        respond.send_response(Response::new(()), false)?.send_data(Bytes::from("ok"), true)?;
    }
    connection.abrupt_shutdown(h2::Reason::NO_ERROR);
    while connection.accept().await.is_some() {}
    Ok(())
}

#[tokio::test]
async fn no_get_is_lost_behind_a_proxy_that_closes_connections() {
    let (address, listener) = listen().await.unwrap();
    background(close_again_and_again(listener));
    let layer = RetryLayer::new(3)
        .backoff(Backoff::exponential(Duration::from_millis(5), Duration::from_millis(50)))
        .budget(Budget::unlimited())
        .http();
    let client = layer.layer(http2());
    for _ in 0..REQUESTS / AT_ONCE {
        let mut calls = JoinSet::new();
        for _ in 0..AT_ONCE {
            let request = Request::get(format!("http://{address}/")).body(nothing()).unwrap();
            calls.spawn(client.clone().oneshot(request));
        }
        for response in calls.join_all().await {
            loopback::read(response.unwrap()).await;
        }
    }
    assert_eq!(layer.handle().stopped(Stop::AttemptsUsed), 0);
    assert!(layer.handle().retries() > 0, "some were refused");
}
