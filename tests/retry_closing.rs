//! A retry over a proxy that closes its connections again and again.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{io, time::Duration};

use buttress::{Backoff, Budget, HttpExt, RetryLayer, Stop};
use http::Request;
use loopback::{background, http1, listen, nothing};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tower::{Layer, ServiceExt};

const REQUESTS: usize = 1000;
const AT_ONCE: usize = 10;
const PER_CONNECTION: usize = 20;

/// Answers so many requests on each connection and closes it, without a word about it.
async fn close_again_and_again(listener: TcpListener) {
    while let Ok((connection, _)) = listener.accept().await {
        background(answer_a_few(connection));
    }
}

async fn answer_a_few(mut connection: TcpStream) -> io::Result<()> {
    for _ in 0..PER_CONNECTION {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await?);
        }
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
    }
    connection.shutdown().await
}

#[tokio::test]
async fn no_get_is_lost_behind_a_proxy_that_closes_connections() {
    let (address, listener) = listen().await.unwrap();
    background(close_again_and_again(listener));
    let layer = RetryLayer::new(3)
        .backoff(Backoff::exponential(Duration::from_millis(1), Duration::from_millis(20)))
        .budget(Budget::unlimited())
        .http();
    let client = layer.layer(http1());
    let mut callers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let client = client.clone();
        callers.spawn(async move {
            for _ in 0..REQUESTS / AT_ONCE {
                let request = Request::get(format!("http://{address}/")).body(nothing()).unwrap();
                let response = client.clone().oneshot(request).await.unwrap();
                loopback::read(response).await;
            }
        });
    }
    callers.join_all().await;
    println!("{} retries", layer.handle().retries());
    assert_eq!(layer.handle().stopped(Stop::AttemptsUsed), 0);
}
