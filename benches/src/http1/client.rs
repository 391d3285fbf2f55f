use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, runtime::Runtime};
use tower::Service;

/// A connection of hyper without a pool. The clones share the connection, because layers clone a service.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    connection: Arc<Mutex<SendRequest<Full<Bytes>>>>,
}

impl HttpClient {
    /// Connects to `address`. The connection is driven in the background.
    #[expect(clippy::expect_used, reason = "without a connection there is nothing to measure")]
    pub(crate) fn connect(runtime: &Runtime, address: SocketAddr) -> Self {
        let stream = runtime.block_on(TcpStream::connect(address));
        let stream = stream.expect("the server accepts");
        drop(stream.set_nodelay(true));
        let connected = runtime.block_on(handshake(TokioIo::new(stream)));
        let (connection, driver) = connected.expect("a handshake sends nothing");
        runtime.spawn(driver);
        Self { connection: Arc::new(Mutex::new(connection)) }
    }

    fn connection(&self) -> MutexGuard<'_, SendRequest<Full<Bytes>>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service<Request<Full<Bytes>>> for HttpClient {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.connection().poll_ready(cx)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        Box::pin(self.connection().send_request(request))
    }
}
