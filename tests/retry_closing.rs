//! A retry over a proxy that closes its connections again and again.

use std::{io, time::Duration};

use buttress::{Backoff, HttpExt, RetryLayer, StopReason};
use http::Request;
use loopback::{background, http1, listen, nothing};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tower::{Layer, ServiceExt};

const REQUESTS: usize = 1000;
const AT_ONCE: usize = 10;
const PER_CONNECTION: usize = 20;

/// Answers so many requests on each connection, and closes it without a word about it.
async fn close_again_and_again(listener: TcpListener) {
    while let Ok((connection, _)) = listener.accept().await {
        background(answer_a_few(connection));
    }
}

async fn answer_a_few(connection: TcpStream) -> io::Result<()> {
    let mut connection = BufReader::new(connection);
    for _ in 0..PER_CONNECTION {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if connection.read_line(&mut line).await? == 0 {
                return Ok(());
            }
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
        .backoff(Backoff::exponential(Duration::from_millis(5), Duration::from_millis(50)))
        .http();
    let client = layer.layer(http1());
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
    assert_eq!(layer.handle().stopped(StopReason::AttemptsUsed), 0);
}
