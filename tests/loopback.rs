//! Fixtures of the integration tests: servers on loopback, and clients for them.

mod checkup;
mod gated;
mod origin;
mod paused;
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
pub use paused::until_at_this_time;
pub use streams::{Streams, Writer, Writers, streams};
pub use work::{Work, get_of, read};

/// A boxed body of any type.
pub type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// A hyper-util client without retries of its own.
pub type AnyClient = Client<HttpConnector, AnyBody>;

/// Runs `server` in the background until the runtime of the test ends.
#[expect(clippy::disallowed_methods, reason = "a server belongs to no call")]
pub fn background(server: impl Future<Output: Send> + Send + 'static) {
    tokio::spawn(async move { drop(server.await) });
}

/// Binds a listener to a free port of loopback.
///
/// # Errors
/// If there is no free port.
pub async fn listen() -> std::io::Result<(SocketAddr, TcpListener)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    Ok((listener.local_addr()?, listener))
}

/// Serves `app` in the background. Returns the address.
///
/// # Errors
/// If there is no free port.
pub async fn serve(app: Router) -> std::io::Result<SocketAddr> {
    let (address, listener) = listen().await?;
    background(axum::serve(listener, app).into_future());
    Ok(address)
}

/// Binds the listener of a tonic server to a free port of loopback.
///
/// # Errors
/// If there is no free port.
pub fn incoming() -> std::io::Result<(SocketAddr, TcpIncoming)> {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?;
    Ok((incoming.local_addr()?, incoming))
}

/// Creates a channel to `address`. It connects at the first request.
///
/// # Errors
/// Never, because every socket address makes a valid URI.
pub fn channel(address: SocketAddr) -> Result<Channel, tonic::transport::Error> {
    Ok(Endpoint::try_from(format!("http://{address}"))?.connect_lazy())
}

/// Creates a client for HTTP/1.
pub fn http1() -> AnyClient {
    Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http()
}

/// Creates a client for HTTP/2 with prior knowledge.
pub fn http2() -> AnyClient {
    Client::builder(TokioExecutor::new())
        .retry_canceled_requests(false)
        .http2_only(true)
        .build_http()
}

/// Creates an empty body.
pub fn nothing() -> AnyBody {
    Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// Creates a body of these chunks without a known length.
pub fn chunks(chunks: &'static [&'static str]) -> AnyBody {
    let frames = chunks.iter().map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes()))));
    StreamBody::new(tokio_stream::iter(frames)).boxed_unsync()
}

/// Lets other tasks run until `condition` holds.
///
/// # Panics
/// If `condition` does not hold within 20 s.
pub async fn until(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(TIME_LIMIT, holds).await.is_ok(), "the condition did not hold in time");
}

/// Far more than any test takes that does not hang.
const TIME_LIMIT: Duration = Duration::from_secs(20);
