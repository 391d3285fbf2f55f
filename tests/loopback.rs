//! What the tests of the integrations share: servers on loopback, and clients for them.

mod checkup;
mod gated;
mod origin;
mod streams;
mod work;

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::Router;
use buttress::BoxError;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{net::TcpListener, time::timeout};
use tonic::transport::{Channel, Endpoint, server::TcpIncoming};

pub use checkup::{Checkup, Seen};
pub use gated::Gated;
pub use origin::{Cached, Headers, Origin, answer, ask, ask_for, three};
pub use streams::{Streams, Writer, Writers, streams};
pub use work::{Work, get_of, read};

/// A body that can stand for any other.
pub type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// A client of hyper-util that repeats nothing by itself.
pub type AnyClient = Client<HttpConnector, AnyBody>;

/// Runs `server` beside the test, until its runtime ends.
#[expect(clippy::disallowed_methods, reason = "a server is not the work of any call")]
pub fn background(server: impl Future<Output: Send> + Send + 'static) {
    tokio::spawn(async move { drop(server.await) });
}

/// A listener on a free port of loopback.
///
/// # Errors
/// Where there is none.
pub async fn listen() -> std::io::Result<(SocketAddr, TcpListener)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    Ok((listener.local_addr()?, listener))
}

/// Serves `app`, and says where.
///
/// # Errors
/// Where there is no free port.
pub async fn serve(app: Router) -> std::io::Result<SocketAddr> {
    let (address, listener) = listen().await?;
    background(axum::serve(listener, app).into_future());
    Ok(address)
}

/// Where a server of tonic may serve.
///
/// # Errors
/// Where there is no free port.
pub fn incoming() -> std::io::Result<(SocketAddr, TcpIncoming)> {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?;
    Ok((incoming.local_addr()?, incoming))
}

/// A channel to `address`, which connects when it is first used.
///
/// # Errors
/// None that a socket address could cause.
pub fn channel(address: SocketAddr) -> Result<Channel, tonic::transport::Error> {
    Ok(Endpoint::try_from(format!("http://{address}"))?.connect_lazy())
}

/// A client for HTTP/1.
pub fn http1() -> AnyClient {
    Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http()
}

/// A client for HTTP/2, without negotiation.
pub fn http2() -> AnyClient {
    Client::builder(TokioExecutor::new())
        .retry_canceled_requests(false)
        .http2_only(true)
        .build_http()
}

/// No body.
pub fn nothing() -> AnyBody {
    Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A body of these chunks, which does not say how long it is.
pub fn chunks(chunks: &'static [&'static str]) -> AnyBody {
    let frames = chunks.iter().map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes()))));
    StreamBody::new(tokio_stream::iter(frames)).boxed_unsync()
}

/// Lets everything else run until `condition` holds.
///
/// # Panics
/// When it does not come to hold in a time that no machine is too busy for.
pub async fn until(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(PATIENCE, holds).await.is_ok(), "it did not come to that");
}

/// What a test that does not hang stays below by far.
const PATIENCE: Duration = Duration::from_secs(20);
